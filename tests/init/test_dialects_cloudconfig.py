"""Every key of cloud-init's language: acted on, warned of, or refused; a table that names each once."""

from __future__ import annotations

import base64
import gzip

import pytest

from init.dialects.cloudconfig import CLOUD_CONFIG
from init.dialects.compile import Compiled, compile_document
from init.dialects.diagnostic import Severity
from init.formats.machine import Command, Group, Machine, Mount, PowerState, Swap

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Ht8Z3j6yDWPBHQtOp/R9rjWvfMYo3MSA/K6q8D86r me@desk"
HASH = "$6$saltsalt$abcdefghijklmnop"
_ACTED = """hostname fqdn prefer_fqdn_over_hostname preserve_hostname manage_etc_hosts user users groups
ssh_authorized_keys disable_root ssh_pwauth password chpasswd ssh_keys write_files bootcmd runcmd mounts swap growpart
resize_rootfs ntp timezone ca_certs random_seed manage_resolv_conf resolv_conf phone_home final_message
power_state"""
_WARNED = """create_hostname_file ssh_import_id disable_root_opts ssh_deletekeys ssh_genkeytypes ssh_quiet_keygen
no_ssh_fingerprints authkey_hash ssh ssh_key_console_blacklist ssh_fp_console_blacklist ssh_publish_hostkeys
allow_public_ssh_keys vendor_data device_aliases disk_setup fs_setup mount_default_fields locale locale_configfile
keyboard rsyslog wireguard updates disable_ec2_metadata apt_pipelining byobu_by_default drivers fan landscape lxd snap
ubuntu_pro autoinstall raspberry_pi rpi ansible chef puppet salt_minion mcollective spacewalk rh_subscription grub_dpkg
output reporting packages package_update package_upgrade package_reboot_if_required apt_update apt_upgrade
apt_reboot_if_required apt apk_repos yum_repos yum_repo_dir zypper datasource_list datasource system_info
disable_network_activation network syslog_fix_perms def_log_file log_cfgs ssh_svcname manual_cache_clean features
launch-index version merge_how merge_type cloud_init_modules cloud_config_modules cloud_final_modules"""
ACTED_ON, WARNED_OF = _ACTED.split(), _WARNED.split()


def cloud(text: str) -> Compiled:
    return compile_document(f"#cloud-config\n{text}\n".encode(), file="user-data")


def machine(text: str) -> Machine:
    compiled = cloud(text)
    assert compiled.machine is not None, [str(each) for each in compiled.diagnostics]
    return compiled.machine


def found(text: str, severity: Severity) -> list[str]:
    return [each.path for each in cloud(text).diagnostics if each.severity is severity]


def test_the_table_has_every_key_and_what_becomes_of_it() -> None:
    ignored = {name for name, key in CLOUD_CONFIG.keys.items() if key.ignored is not None}
    acted = set(CLOUD_CONFIG.keys) - ignored
    assert acted == set(ACTED_ON)
    assert set(WARNED_OF) - ignored == set()


@pytest.mark.parametrize("name", WARNED_OF)
def test_a_known_key_that_is_not_acted_on_is_a_warning(name: str) -> None:
    compiled = cloud(f"{name}: {{a: [1]}}")
    assert compiled.machine == Machine()
    assert [(each.severity, each.path) for each in compiled.diagnostics] == [(Severity.WARNING, name)]


def test_old_spellings_with_hyphens_are_taken() -> None:
    assert machine("ca-certs: {remove-defaults: true}").ca_remove_defaults
    text = "users: [{name: a, lock-passwd: false, ssh-authorized-keys: [" + KEY + "]}]"
    assert machine(text).users[0].ssh_authorized_keys == (KEY,)
    assert Severity.NOTE in {each.severity for each in cloud(text).diagnostics}


@pytest.mark.parametrize(
    ("text", "hostname", "fqdn"),
    [
        ("hostname: a", "a", None),
        ("hostname: a.b.c", "a", "a.b.c"),
        ("{hostname: a, fqdn: x.y}", "x", "x.y"),
        ("fqdn: x.y", "x", "x.y"),
        ("{fqdn: x.y, prefer_fqdn_over_hostname: true}", "x.y", "x.y"),
        ("{hostname: a, preserve_hostname: true}", "berth", None),
    ],
)
def test_names(text: str, hostname: str, fqdn: str | None) -> None:
    got = machine(text)
    assert (got.hostname, got.fqdn) == (hostname, fqdn)


def test_users() -> None:
    text = f"""groups: [ops, {{dev: [a, b]}}]
users:
  - default
  - b
  - name: a
    uid: 1200
    gecos: A B
    homedir: /srv/a
    shell: /bin/sh
    primary_group: ops
    groups: dev, ops
    hashed_passwd: {HASH}
    lock_passwd: false
    ssh_authorized_keys: ['{KEY}']
  - {{name: c, system: true, no_user_group: true, passwd: {HASH}}}
  - {{name: root, ssh_authorized_keys: ['{KEY}']}}
"""
    got = machine(text)
    default, b, a, c, root = got.users
    assert default.name == "berth"
    assert (b.name, b.uid) == ("b", None)
    assert (a.uid, a.gecos, a.home, a.primary_group, a.groups) == (1200, "A B", "/srv/a", "ops", ("dev", "ops"))
    assert (a.password_hash, a.lock_password) == (HASH, False)
    assert (c.system, c.create_home, c.primary_group, c.lock_password) == (True, False, "users", True)
    assert got.root_keys == root.ssh_authorized_keys == (KEY,)
    assert got.groups == (Group(name="ops"), Group(name="dev", members=("a", "b")))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("users: []", []),
        ("users: [default]", ["berth"]),
        (f"ssh_authorized_keys: ['{KEY}']", ["berth"]),
        ("user: op", ["op"]),
        ("user: {name: op, gecos: X}", ["op"]),
        ("users: 'a, b'", ["a", "b"]),
        ("hostname: x", []),
    ],
)
def test_who_there_is(text: str, names: list[str]) -> None:
    assert [user.name for user in machine(text).users] == names


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("users: {a: b}", "users.a"),
        ("users: {a: {name: b}}", "users.a.name"),
        ("users: [{name: a}, {name: a}]", "users[1]"),
        ("users: [{name: a, uid: 1005}, {name: b, uid: 1005}]", "users[1].uid"),
        ("users: [default, {name: b, uid: 1000}]", "users[1].uid"),
        ("users: [{name: b, uid: 1000}, default]", "users[1]"),
        ("users: {a: {uid: 1005}, b: {uid: 1005}}", "users.b.uid"),
        ("users: [{name: 'A B'}]", "users[0].name"),
        ("users: [{name: a, passwd: secret}]", "users[0].passwd"),
        ("users: [{name: a, uid: -1}]", "users[0].uid"),
        ("users: [{name: a, gecos: 'a:b'}]", "users[0].gecos"),
        ("users: [{name: a, homedir: relative}]", "users[0].homedir"),
        ("ssh_authorized_keys: " + KEY, "ssh_authorized_keys"),
        (f"ssh_authorized_keys: ['{KEY[:40]}']", "ssh_authorized_keys[0]"),
        ("ssh_authorized_keys: ['-----BEGIN OPENSSH PRIVATE KEY-----']", "ssh_authorized_keys[0]"),
        (f"ssh_authorized_keys: ['{KEY.replace('ed25519', 'rsa', 1)}']", "ssh_authorized_keys[0]"),
        ("hostname: [a]", "hostname"),
        ("hostname: no", "hostname"),
        ("hostname: a_b", "hostname"),
        ("chpasswd: {users: [{name: root, password: clear}]}", "chpasswd.users[0]"),
        ("chpasswd: {users: [{name: nobody, password: '" + HASH + "'}]}", "chpasswd"),
        ("ssh_keys: {dsa_private: x}", "ssh_keys.dsa_private"),
        ("manage_etc_hosts: maybe", "manage_etc_hosts"),
        ("runcmd: ls", "runcmd"),
        ("runcmd: [[]]", "runcmd[0]"),
        ("runcmd: [{a: b}]", "runcmd[0]"),
        ("write_files: {path: /etc/a}", "write_files"),
        ("write_files: [{content: a}]", "write_files[0].path"),
        ("write_files: [{path: etc/a}]", "write_files[0].path"),
        ("write_files: [{path: /etc/../a}]", "write_files[0].path"),
        ("write_files: [{path: /etc/a, permissions: '0888'}]", "write_files[0].permissions"),
        ("write_files: [{path: /etc/a, encoding: zip}]", "write_files[0].encoding"),
        ("write_files: [{path: /etc/a, encoding: b64, content: '%'}]", "write_files[0].content"),
        ("write_files: [{path: /etc/a, owner: 'a:b:c'}]", "write_files[0].owner"),
        ("mounts: [[sdb1, relative]]", "mounts[0]"),
        ("mounts: [sdb1]", "mounts[0]"),
        ("swap: {filename: /var/swap, size: lots}", "swap.size"),
        ("timezone: ../etc", "timezone"),
        ("ntp: {servers: ['a b']}", "ntp.servers[0]"),
        ("ntp: {ntp_client: sundial}", "ntp.ntp_client"),
        ("ca_certs: {trusted: [x]}", "ca_certs.trusted[0]"),
        ("power_state: {mode: sleep}", "power_state.mode"),
        ("power_state: {delay: 5}", "power_state.mode"),
        ("power_state: {mode: halt, delay: soon}", "power_state.delay"),
        ("power_state: {mode: halt, condition: []}", "power_state.condition"),
        ("power_state: {mode: halt, condition: 3}", "power_state.condition"),
        ("power_state: {mode: halt, condition: {a: b}}", "power_state.condition"),
        ("phone_home: {url: 'ftp://x'}", "phone_home.url"),
        ("phone_home: {url: 'http://x', post: [secrets]}", "phone_home.post[0]"),
        ("berth: []", "berth"),
    ],
)
def test_wrong_values_are_told_by_path(text: str, path: str) -> None:
    assert cloud(text).machine is None
    assert found(text, Severity.ERROR) == [path]


def content(text: str) -> bytes:
    (file,) = machine(f"write_files: [{{path: /etc/a, {text}}}]").files
    return base64.b64decode(file.content)


def test_files_in_every_encoding() -> None:
    plain = b"a\xc3\xa9\n"
    packed = base64.b64encode(gzip.compress(plain)).decode()
    assert content("content: 'x'") == b"x"
    assert content("") == b""
    assert content(f"encoding: b64, content: {base64.b64encode(plain).decode()}") == plain
    assert content(f"content: !!binary {base64.b64encode(plain).decode()}") == plain
    for name in ("gz+base64", "gzip+base64", "gz+b64", "gzip+b64"):
        assert content(f"encoding: {name}, content: {packed}") == plain


def test_a_packed_file_is_bounded() -> None:
    bomb = base64.b64encode(gzip.compress(b"0" * 2**26)).decode()
    assert found(f"write_files: [{{path: /etc/a, encoding: gz+b64, content: {bomb}}}]", Severity.ERROR)


def test_files_owner_mode_place() -> None:
    text = "{path: /srv/a, owner: 'a:b', permissions: '0o750', append: true}"
    (file,) = machine(f"write_files: [{text}]").files
    assert (file.owner, file.group, file.mode, file.append, file.defer) == ("a", "b", 0o750, True, False)
    assert machine("write_files: [{path: /home/a/b}]").files[0].defer
    assert machine("write_files: [{path: /usr/bin/x}]").files == ()
    assert found("write_files: [{path: /usr/bin/x}]", Severity.WARNING) == ["write_files[0].path"]
    assert machine("write_files: [{path: /etc/a, permissions: 0644}]").files[0].mode == 0o644


def test_commands() -> None:
    got = machine("{bootcmd: [echo a b, [ls, -l]], runcmd: [null, x]}")
    assert got.bootcmd == (Command(argv=("echo a b",), shell=True), Command(argv=("ls", "-l")))
    assert got.runcmd == (Command(argv=("x",), shell=True),)


def test_disks() -> None:
    got = machine(
        "{mounts: [[sdb1, /mnt/a], [LABEL=x, /srv, ext4, 'ro,nofail', 0, 2], [a, null]], growpart: {mode: 'off'}}"
    )
    assert got.mounts == (
        Mount(device="/dev/sdb1", target="/mnt/a"),
        Mount(device="LABEL=x", target="/srv", filesystem="ext4", options=("ro", "nofail")),
    )
    assert not got.grow_state
    assert machine("swap: {filename: /var/swap, size: 1.5G}").swap == Swap(filename="/var/swap", size=3 * 2**29)
    assert machine("swap: {filename: /var/swap, size: auto}").swap is None


def test_a_shell_that_an_image_need_not_have_is_told() -> None:
    assert found("users: [{name: a, shell: /bin/bash}]", Severity.WARNING) == ["users[0].shell"]
    for shell in ("/bin/sh", "/usr/sbin/nologin"):
        assert found(f"users: [{{name: a, shell: {shell}}}]", Severity.WARNING) == []


def test_old_forms_of_users() -> None:
    got = machine("users: {a: {gecos: A}, b: true, c: false, d: null}")
    assert [(user.name, user.gecos) for user in got.users] == [("a", "A"), ("b", "")]
    (default,) = machine("user: {gecos: Me, shell: /bin/ash}").users
    assert (default.name, default.uid, default.gecos, default.shell) == ("berth", 1000, "Me", "/bin/ash")
    (default,) = machine("{user: {name: me, lock_passwd: true}, password: " + HASH + "}").users
    assert (default.name, default.password_hash, default.lock_password) == ("me", HASH, False)


def test_seeds_in_every_encoding() -> None:
    packed = base64.b64encode(gzip.compress(b"seed")).decode()
    for text in ("data: seed", "data: c2VlZA==, encoding: b64", f"data: !!binary {packed}, encoding: gz"):
        assert machine(f"random_seed: {{{text}}}").random_seed == "c2VlZA==", text
    assert found("random_seed: {data: seed, encoding: gz}", Severity.ERROR) == ["random_seed"]


def test_a_mount_without_a_directory_is_left_out_as_cloud_init_does() -> None:
    made = compile_document(b"#cloud-config\nmounts: [[sdb1], [sdb2, /mnt/a]]\n", file="user-data")
    assert made.machine is not None
    assert [each.target for each in made.machine.mounts] == ["/mnt/a"]
    assert [(each.path, each.severity.value) for each in made.diagnostics] == [("mounts[0]", "warning")]


def test_the_command_of_a_seed_comes_before_bootcmd() -> None:
    got = machine("{bootcmd: [ls], random_seed: {command: [pollinate, -q]}}")
    assert [each.argv for each in got.bootcmd] == [
        ("env", "RANDOM_SEED_FILE=/dev/urandom", "pollinate", "-q"),
        ("ls",),
    ]


def test_keys_of_root_are_said_to_open_nothing_unless_root_may_log_in() -> None:
    root = f"users: [{{name: root, ssh_authorized_keys: [{KEY}]}}]"
    for more in ("", "disable_root: true\n"):
        assert found(more + root, Severity.WARNING) == ["users[0].ssh_authorized_keys"]
    assert found("disable_root: false\n" + root, Severity.WARNING) == []


@pytest.mark.parametrize(
    ("text", "path", "instead"),
    [
        ("mounts: [[LABEL=data, /data, ext4]]", "mounts[0][1]", "/mnt/data"),
        ("mounts: [[/dev/vdb, /usr/share]]", "mounts[0][1]", "/mnt/data"),
        ("swap: {filename: /swap.img, size: 1G}", "swap.filename", "/var/swap.img"),
        ("swap: {filename: /tmp/swap.img, size: 1G}", "swap.filename", "/var/swap.img"),
        ("users: [{name: a, homedir: /app}]", "users[0].homedir", "/home"),
        ("users: {a: {homedir: /app}}", "users.a.homedir", "/home"),
        ("user: {name: a, homedir: /app}", "user.homedir", "/home"),
    ],
)
def test_a_place_that_is_read_only_is_said_with_one_that_is_not(text: str, path: str, instead: str) -> None:
    said = [each for each in cloud(text).diagnostics if each.severity is Severity.WARNING]
    assert [each.path for each in said] == [path]
    assert instead in str(said[0].hint)
    assert "read-only" in said[0].message
    assert machine(text).swap is None


@pytest.mark.parametrize(
    "place",
    ["/", "/etc", "/usr", "/usr/lib/", "//var", "/var/./lib", "/var/lib/berth", "/run", "/run/berth", "/dev", "/proc"],
)
def test_a_mount_over_what_the_machine_lives_in_is_an_error_with_its_place(place: str) -> None:
    (error,) = cloud(f"mounts:\n- [tmpfs, /mnt/a, tmpfs]\n- [/dev/vdb, {place}]").diagnostics
    where = (error.severity, error.path, error.place.line, error.place.column)
    assert where == (Severity.ERROR, "mounts[1][1]", 4, 14)
    assert "/mnt/data" in str(error.hint)


@pytest.mark.parametrize(
    "text",
    [
        "mounts: [[LABEL=data, /mnt, ext4], [LABEL=x, /srv/], [tmpfs, /tmp, tmpfs], [tmpfs, /dev/shm, tmpfs]]",
        "mounts: [[sdb1, /var/lib/containers], [sdb2, /var/lib/berth/volumes/data], [sdb3, /var/lib/berth-of-mine]]",
        "mounts: [[sdb1, /home], [sdb2, /opt], [sdb3, /usr/local], [tmpfs, /run/mine, tmpfs]]",
        "random_seed: {data: seed, file: /dev/random, command: [pollinate, -q]}",
        "swap: {filename: /var/swap.img, size: 1G}",
        "users: [{name: a, homedir: /srv/a}, {name: b, homedir: /app, system: true}]",
        "users: [{name: a, homedir: /app, no_create_home: true}]",
    ],
)
def test_a_place_that_can_be_had_needs_no_word(text: str) -> None:
    assert found(text, Severity.WARNING) == []


@pytest.mark.parametrize("text", ["{}", "{filename: /var/swap}", "{size: 1G}"])
def test_half_a_swap_file_is_none_and_said(text: str) -> None:
    assert machine(f"swap: {text}").swap is None
    assert found(f"swap: {text}", Severity.WARNING) == ["swap"]


def test_time_and_the_end() -> None:
    got = machine("{ntp: null, timezone: Europe/Berlin}")
    assert (got.ntp_enabled, got.ntp_servers, got.timezone) == (True, (), "Europe/Berlin")
    assert not machine("ntp: {enabled: false}").ntp_enabled
    assert machine("ntp: {servers: [a.b], pools: [c.d]}").ntp_servers == ("a.b",)
    state = machine("power_state: {mode: reboot, delay: +5, message: x}").power_state
    assert state == PowerState(mode="reboot", delay=300.0, message="x")
    assert machine("power_state: {mode: reboot, condition: false}").power_state is None
    assert machine("power_state: {mode: reboot, condition: true}").power_state == PowerState(mode="reboot")
    for text, command in (
        ("test -e /x && y", Command(argv=("test -e /x && y",), shell=True)),
        ("[test, -e, /x y]", Command(argv=("test", "-e", "/x y"))),
    ):
        state = machine(f"power_state: {{mode: halt, condition: {text}}}").power_state
        assert state == PowerState(mode="halt", condition=command)
    home = machine("phone_home: {url: 'http://x/', post: [hostname], tries: 3}").phone_home
    assert home is not None
    assert (home.post, home.tries) == (("hostname",), 3)


def test_passwords() -> None:
    got = machine(f"chpasswd: {{users: [{{name: root, password: {HASH}}}], expire: false}}")
    assert (got.users[0].name, got.users[0].password_hash, got.users[0].lock_password) == ("root", HASH, False)
    assert machine(f"password: {HASH}").users[0].password_hash == HASH
    assert machine("password: clear").users == ()
    assert found("password: clear", Severity.WARNING) == ["password"]


def test_the_resolver() -> None:
    got = machine("{manage_resolv_conf: true, resolv_conf: {nameservers: [192.0.2.1], searchdomains: [x.y]}}")
    assert (got.network.nameservers, got.network.search, got.network.default_dhcp) == (("192.0.2.1",), ("x.y",), True)
    assert machine("resolv_conf: {nameservers: [192.0.2.1]}").network.nameservers == ()


def test_a_user_who_stands_there_twice_is_told_where_the_second_does() -> None:
    text = "users:\n  - name: ann\n  - {name: A B}\n  - default\n  - name: ann\n    uid: 1003\n"
    wrong, twice = (each for each in cloud(text).diagnostics if each.severity is Severity.ERROR)
    assert (wrong.path, wrong.place.line) == ("users[1].name", 4)
    assert (twice.path, twice.place.line, twice.code) == ("users[3]", 6, "duplicate")
