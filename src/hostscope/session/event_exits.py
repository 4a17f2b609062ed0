"""Events that leave a session: secrets masked in the arguments of programs and of system calls."""

from msgspec.structs import replace

from hostscope.model.event import Event, ProcessChange, ProcessExec, ServiceChange, SystemCall
from hostscope.model.syscall import Argument
from hostscope.render.mask import mask_argv, mask_text, may_hold_secret
from hostscope.session.exits import Exit


def let_out(leaving: Exit, event: Event) -> Event:
    """An event on its way out; the same one when nothing in it looks like a secret."""
    body = event.body
    if isinstance(body, ProcessExec) and body.argv and not leaving.may_see_user(body.uid):
        argv = mask_argv(body.argv)
        return event if argv == body.argv else replace(event, body=replace(body, argv=argv))
    if isinstance(body, ProcessChange):
        before, after = (process and leaving.process(process) for process in (body.before, body.after))
        same = before is body.before and after is body.after
        return event if same else replace(event, body=replace(body, before=before, after=after))
    if isinstance(body, ServiceChange):
        before_it, after_it = (unit and leaving.service(unit) for unit in (body.before, body.after))
        same = before_it is body.before and after_it is body.after
        return event if same else replace(event, body=replace(body, before=before_it, after=after_it))
    if isinstance(body, SystemCall) and not leaving.sees_everything:
        if not may_hold_secret("\n".join([argument.text for argument in body.arguments])):
            return event  # thousands a second: one look at all of them
        arguments = tuple(_masked(argument) for argument in body.arguments)
        return event if arguments == body.arguments else replace(event, body=replace(body, arguments=arguments))
    return event


def _masked(argument: Argument) -> Argument:
    text = mask_text(argument.text)
    return argument if text == argument.text else replace(argument, text=text)
