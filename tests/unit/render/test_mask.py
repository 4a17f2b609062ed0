"""What looks like a secret does not leave; what does not look like one does."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostscope.model.detail import ProcessDetail, Variable
from hostscope.render.mask import looks_secret, mask_argv, mask_detail, mask_environment, mask_process, mask_text
from tests.fake import process

SECRET = "hunter2correcthorse"
GITHUB = "ghp_" + "a1B2" * 9
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"

MASKED = [
    (("prog", f"--password={SECRET}"), ("prog", "--password=***")),
    (("prog", "--password", SECRET, "file"), ("prog", "--password", "***", "file")),
    (("prog", "--db-password", SECRET), ("prog", "--db-password", "***")),
    (("prog", f"--api-key={SECRET}"), ("prog", "--api-key=***")),
    (("prog", f"-token={SECRET}"), ("prog", "-token=***")),
    (("prog", "--auth-token", SECRET), ("prog", "--auth-token", "***")),
    (("prog", "--client-secret", SECRET), ("prog", "--client-secret", "***")),
    (("java", f"-Djavax.net.ssl.keyStorePassword={SECRET}"), ("java", "-Djavax.net.ssl.keyStorePassword=***")),
    (("env", f"AWS_SECRET_ACCESS_KEY={SECRET}", "aws"), ("env", "AWS_SECRET_ACCESS_KEY=***", "aws")),
    (("env", f"PGPASSWORD={SECRET}", "psql"), ("env", "PGPASSWORD=***", "psql")),
    (("mysql", "-u", "root", f"-p{SECRET}"), ("mysql", "-u", "root", "-p***")),
    (("/usr/bin/mysqldump", f"-p{SECRET}", "db"), ("/usr/bin/mysqldump", "-p***", "db")),
    (("mysql", "-p", "db"), ("mysql", "-p", "db")),
    (("sshpass", "-p", SECRET, "ssh", "host"), ("sshpass", "-p", "***", "ssh", "host")),
    (("redis-cli", "-a", SECRET), ("redis-cli", "-a", "***")),
    (("curl", "-u", f"me:{SECRET}", "https://x"), ("curl", "-u", "***", "https://x")),
    (("curl", f"-ume:{SECRET}"), ("curl", "-u***")),
    (("curl", f"--user=me:{SECRET}"), ("curl", "--user=***")),
    (("curl", "-H", f"Authorization: Bearer {SECRET}"), ("curl", "-H", "Authorization: ***")),
    (("curl", "-H", f"X-Api-Key: {SECRET}"), ("curl", "-H", "X-Api-Key: ***")),
    (("curl", "-H", f"Cookie: sid={SECRET}"), ("curl", "-H", "Cookie: ***")),
    (("git", "clone", f"https://me:{SECRET}@host/x"), ("git", "clone", "https://me:***@host/x")),
    (("app", f"postgres://u:{SECRET}@db:5432/x"), ("app", "postgres://u:***@db:5432/x")),
    (("app", f"redis://:{SECRET}@cache/0"), ("app", "redis://:***@cache/0")),
    (("git", "clone", f"https://{GITHUB}@github.com/x"), ("git", "clone", "https://***@github.com/x")),
    (("app", f"https://x/cb?token={SECRET}&a=1"), ("app", "https://x/cb?token=***&a=1")),
    (("app", GITHUB), ("app", "***")),
    (("app", "AKIA" + "ABCD1234" * 2), ("app", "***")),
    (("app", "xoxb-1234567890-abcdef"), ("app", "***")),
    (("app", JWT), ("app", "***")),
    (("app", PEM), ("app", "***")),
    (("app", f'{{"password": "{SECRET}"}}'), ("app", '{"password": "***"}')),
    (("sh", "-c", f"export TOKEN={SECRET}; run"), ("sh", "-c", "export TOKEN=***; run")),
    ((f"title: worker --password {SECRET} rest",), ("title: worker --password *** rest",)),
    ((f"nginx: password={SECRET}",), ("nginx: password=***",)),
    (("app", "--bearer", SECRET), ("app", "--bearer", "***")),
    (("sudo", "-n", "mysql", f"-p{SECRET}", "db"), ("sudo", "-n", "mysql", "-p***", "db")),
    (("timeout", "5", "/usr/bin/curl", "-u", f"me:{SECRET}"), ("timeout", "5", "/usr/bin/curl", "-u", "***")),
    (("sh", "-c", f"exec mysqldump -p{SECRET}  db"), ("sh", "-c", "exec mysqldump -p***  db")),
    (("sh", "-c", f"cd /\ncurl -u me:{SECRET} x"), ("sh", "-c", "cd /\ncurl -u *** x")),
    (("sh", "-c", f"exec prog --token {SECRET} x"), ("sh", "-c", "exec prog --token *** x")),
    (("sh", "-c", f"TOKEN={SECRET}; run -x"), ("sh", "-c", "TOKEN=***; run -x")),
    ((f"worker --password {SECRET} x", "30"), ("worker --password *** x", "30")),
    ((f"curl -H Authorization: Bearer {SECRET}",), ("curl -H Authorization: ***",)),
    (("C:\\Tools\\MySQL.EXE", f"-p{SECRET}"), ("C:\\Tools\\MySQL.EXE", "-p***")),
    (("7z", "a", f"-p{SECRET}", "out.7z"), ("7z", "a", "-p***", "out.7z")),
    (("rar", "a", f"-hp{SECRET}"), ("rar", "a", "-hp***")),
    (("zip", "-P", SECRET, "out.zip"), ("zip", "-P", "***", "out.zip")),
    (("openssl", "enc", "-k", SECRET, "-keyform", "PEM"), ("openssl", "enc", "-k", "***", "-keyform", "PEM")),
    (("plink", "-pw", SECRET, "host"), ("plink", "-pw", "***", "host")),
    (("xfreerdp", f"/p:{SECRET}", "/v:host"), ("xfreerdp", "/p:***", "/v:host")),
    (("app", "hf_" + "a1B2" * 9), ("app", "***")),
    (("app", "glrt-" + "a1B2" * 5), ("app", "***")),
    (("app", "hvs." + "a1B2" * 6), ("app", "***")),
    (("app", "pypi-AgEIcHlwaS5vcmc" + "a1B2" * 6), ("app", "***")),
]


@pytest.mark.parametrize(("argv", "shown"), MASKED)
def test_masks(argv: tuple[str, ...], shown: tuple[str, ...]) -> None:
    assert mask_argv(argv) == shown


@pytest.mark.parametrize(
    "argv",
    [
        ("sshd", "-D"),
        ("sleep", "1"),
        ("app", "--password-file", "/etc/app/pw"),
        ("app", "--password-file=/etc/app/pw"),
        ("app", "--key-path=/etc/key.pem"),
        ("app", "--token-url=https://host/x"),
        ("ssh", "-p", "2222", "host"),
        ("git", "clone", "ssh://git@host/x"),
        ("python3", "-m", "http.server", "--bind", "::1"),
        ("dbus-daemon", "--session", "--address=systemd:", "--syslog-only"),
        ("tar", "-p", "-x"),
        ("docker", "run", "-p", "8080:80", "image"),
        ("sh", "-c", "ls -la  /srv; tar -p -x"),
        ("mysql.server", "-p", "x"),
        ("grep", "-r", "needle", "/etc/mysql/conf.d"),
        ("", "x"),
        (),
    ],
)
def test_leaves_the_rest_alone(argv: tuple[str, ...]) -> None:
    assert mask_argv(argv) == argv


def test_the_same_tuple_comes_back_when_nothing_is_masked() -> None:
    argv = ("sleep", "1")
    assert mask_argv(argv) is argv


@given(st.lists(st.text()).map(tuple))
def test_masking_arguments_never_fails_and_keeps_their_number(argv: tuple[str, ...]) -> None:
    masked = mask_argv(argv)
    assert len(masked) == len(argv)
    assert mask_argv(masked) == masked or len(argv) == 1


@given(
    st.sampled_from(["--password", "--token", "--api-key", "--client-secret", "--auth-token", "--db_password"]),
    st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8),
    st.lists(st.text(), max_size=3),
    st.booleans(),
)
def test_a_named_secret_never_survives(flag: str, secret: str, before: list[str], joined: bool) -> None:
    secret = "Zq9" + secret
    given_ = [f"{flag}={secret}"] if joined else [flag, secret]
    shown = mask_argv(("prog", *before, *given_))
    assert secret not in " ".join(shown[len(before) + 1 :])


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=3), st.sampled_from(["https", "amqp"]))
def test_a_password_in_a_url_never_survives(secret: str, scheme: str) -> None:
    secret = "Zq9" + secret
    assert secret not in mask_text(f"connect {scheme}://user:{secret}@host:1/path now")


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "-a",
        "pass",
        "x-",
        "-eyJ",
        "://a",
        "bearer ",
        'pass="',
        '"key":\'',
        "-----BEGIN ",
        "key ",
        "a.b-",
        "curl -u ",
        "mysql ",
    ],
)
def test_hostile_arguments_take_linear_time(piece: str) -> None:
    """A quadratic pattern would take minutes for these 400 kB."""
    began = time.process_time()
    mask_argv(("app", "token eyJ xox ://" + piece * (400_000 // len(piece))))
    assert time.process_time() - began < 5


@given(st.text())
def test_masking_text_never_fails(text: str) -> None:
    assert isinstance(mask_text(text), str)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PASSWORD",
            "DB_PASS",
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "PGPASSWORD",
            "MYSQL_PWD",
            "SSHPASS",
            "DBPASS",
        ),
        *("DBPASS", "LDAP_BINDPW", "MYPWD", "AccessKey", "privateKey", "ENCRYPTIONKEY", "CI_JOB_JWT"),
    ],
)
def test_environment_names_that_hold_secrets(name: str) -> None:
    assert looks_secret(name)
    assert mask_environment((Variable(name, SECRET),)) == (Variable(name, "***"),)


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "SSH_AUTH_SOCK", "KEYBOARD", "TERM", "PASSWORD_FILE", "PWD", "OLDPWD", "XAUTHORITY"]
)
def test_environment_names_that_do_not(name: str) -> None:
    assert mask_environment((Variable(name, "/some/value"),)) == (Variable(name, "/some/value"),)


def test_environment_values_are_looked_at_too() -> None:
    variables = (Variable("DATABASE_URL", f"postgres://u:{SECRET}@db/x"), Variable("EMPTY_TOKEN", ""))
    assert mask_environment(variables) == (
        Variable("DATABASE_URL", "postgres://u:***@db/x"),
        Variable("EMPTY_TOKEN", ""),
    )


def test_a_process_without_secrets_is_the_same_record() -> None:
    plain = process(1)
    assert mask_process(plain) is plain
    assert mask_process(process(1, argv=("x", f"--password={SECRET}"))).argv == ("x", "--password=***")
    assert mask_process(process(1, argv=None)).argv is None


def test_detail_is_masked_in_its_environment() -> None:
    detail = ProcessDetail(environment=(Variable("TOKEN", SECRET),))
    assert mask_detail(detail).environment == (Variable("TOKEN", "***"),)
    assert mask_detail(ProcessDetail()) == ProcessDetail()
