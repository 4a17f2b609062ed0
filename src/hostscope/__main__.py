"""`hostscope`, and `python -m hostscope`: what stands here is all that an interrupt finds before it is listened for."""

import gc
import signal


def main() -> None:
    """Runs the command. While it is imported, an interrupt just ends us, instead of showing where in an import."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from hostscope.platforms import open_console

    console = open_console()
    console.prepare()
    from hostscope.cli.endings import interrupt
    from hostscope.cli.main import main as run

    try:
        with console.listening(interrupt):
            run()
    finally:
        gc.freeze()  # memory goes back with the process: searching all of it for cycles first takes 8 ms


if __name__ == "__main__":
    main()
