# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role's templates hold for a host's versions of systemd and uWSGI: rendered by Ansible itself, for all of them at once."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import ast
import json
import os
import re
import subprocess
import sys

import pytest

# Under Python 2.7 there are only the module_utils.
pytest.importorskip('ansible.cli')
yaml = pytest.importorskip('yaml')

ROLE = os.path.join(os.path.dirname(__file__), '..', '..', '..', 'roles', 'emperor')
UNIT = 'emperor/etc/systemd/system/uwsgi.service'
EMPEROR = 'emperor/etc/uwsgi/emperor.ini'
DEFAULTS = 'etc/uwsgi/vassal-default.ini'
# By systemd's manual pages: what Debian 8's knows, and what came with each of the later releases' (Debian 9 to 13).
OLDEST = set(
    'Description Documentation After Wants Type NotifyAccess ExecStart ExecReload ExecStop Environment EnvironmentFile Restart RestartSec KillMode '
    'KillSignal TimeoutStopSec RuntimeDirectory LimitNOFILE WantedBy'.split()
)
NEWER = {
    215: set(),
    232: set(['RestrictRealtime', 'ProtectKernelModules', 'ProtectKernelTunables']),
    241: set(['LockPersonality']),
    247: set(['ProtectKernelLogs']),
    252: set(),
    257: set(),
}


def write(tmp_path, module, arguments, hosts, **variables):
    """Has a module of Ansible's write a file for each host, with the role's variables; hosts: what the role has seen of each."""
    target = os.path.join(str(tmp_path), '{{ inventory_hostname }}')
    variables = dict(variables, seen=hosts, __emperor_host='{{ seen[inventory_hostname] }}', ansible_python_interpreter=sys.executable)
    command = ['ansible', 'all', '-i', ','.join(hosts) + ',', '-c', 'local', '-m', module, '--playbook-dir', ROLE]
    command += ['-a', json.dumps(dict(arguments, dest=target))]
    files = ['defaults/main.yml'] + ['vars/main/%s.yml' % name for name in ('packages', 'options', 'host')]
    for extra in ['@%s/%s' % (ROLE, name) for name in files] + [json.dumps(variables)]:
        command += ['-e', extra]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, env=dict(os.environ, HOME=str(tmp_path)))
    assert done.returncode == 0, done.stdout.decode('utf-8')


def render(tmp_path, template, hosts, **variables):
    """The options of a template's file by host, each a set of names; hosts: what the role has seen of each."""
    write(tmp_path, 'ansible.builtin.template', dict(src=template + '.j2'), hosts, **variables)
    options = {}
    for host in hosts:
        with open(os.path.join(str(tmp_path), host)) as handle:
            options[host] = set(re.findall(r'^([\w-]+) *=', handle.read(), re.MULTILINE)) - set(['if-opt', 'if-not-opt', 'endif'])
    return options


def test_the_unit_has_all_directives_that_the_hosts_systemd_knows_and_no_other(tmp_path):
    hosts = dict(('systemd-%d' % version, dict(systemd=version, uwsgi='2.0.28-debian')) for version in NEWER)
    rendered = render(tmp_path, UNIT, hosts)
    known = set(OLDEST)
    for version in sorted(NEWER):
        known |= NEWER[version]
        assert rendered['systemd-%d' % version] == known


@pytest.mark.parametrize(
    'units, more',
    [
        # StartLimitInterval is the name that it had then; later releases still take it, where it was
        (
            ['emperor/%s/uwsgi@.service', '%s/uwsgi-vassals.service', 'emperor/%s/uwsgi-vassals.target'],
            'Before BindsTo ExecStartPost ExecStopPost RemainAfterExit StartLimitInterval TimeoutSec',
        ),
        (
            ['systemd/%s/uwsgi@.service', 'systemd/%s/uwsgi@.socket'],
            'Conflicts ExecStartPre ExecStopPost ListenStream RemoveOnStop Requires SocketGroup SocketMode SocketUser StartLimitBurst StartLimitInterval '
            'StopWhenUnneeded SuccessExitStatus TimeoutStartSec',
        ),
    ],
    ids=['emperor', 'systemd'],
)
def test_the_vassals_units_have_no_directive_that_debian_8_does_not_know(units, more):
    directives = set()
    for unit in units:
        with open(os.path.join(ROLE, 'templates/%s.j2' % unit % 'etc/systemd/system')) as handle:
            # what a newer systemd is needed for stands under a condition
            text = re.sub(r'(?s)\{% if __emperor_host\.systemd is version.*?\{% endif %\}', '', handle.read())
            directives |= set(re.findall(r'^(\w+)=', text, re.MULTILINE))
    assert directives - OLDEST == set(more.split())


@pytest.mark.parametrize(
    'template, options, first',
    [(EMPEROR, ['emperor-graceful-shutdown'], '2.0.19'), (DEFAULTS, ['hook-master-start', 'hook-pre-app'], '2.0.12')],
    ids=['emperor', 'defaults'],
)
def test_uwsgi_is_given_no_option_that_it_does_not_know(tmp_path, template, options, first):
    versions = '2.0.7-debian', '2.0.11', '2.0.18-debian', first, '2.0.31-debian'
    hosts = dict(('uwsgi-' + version, dict(systemd=215, uwsgi=version)) for version in versions)
    hosts['uwsgi-not-there-yet'] = dict(systemd=257, uwsgi=None)
    rendered = render(tmp_path, template, hosts)
    newest = rendered['uwsgi-2.0.31-debian']
    assert set(options) <= newest
    assert rendered['uwsgi-' + first] == rendered['uwsgi-not-there-yet'] == newest
    assert rendered['uwsgi-2.0.7-debian'] == newest - set(options)


def test_workers_in_their_first_instants_exit_where_the_socket_outlives_their_master(tmp_path):
    hosts = dict(old=dict(systemd=215, uwsgi='2.0.7-debian'), new=dict(systemd=257, uwsgi='2.0.28-debian'))
    for supervisor, wanted in ('emperor', set()), ('systemd', set(['new'])):
        rendered = render(tmp_path, DEFAULTS, hosts, emperor_supervisor=supervisor)
        assert set(host for host in hosts if 'hook-post-app' in rendered[host]) == wanted


def test_the_signal_that_ends_an_application_is_known_to_its_uwsgi_and_to_systemd(tmp_path):
    hosts = dict(old=dict(systemd=215, uwsgi='2.0.7-debian'), new=dict(systemd=257, uwsgi='2.0.28-debian'))
    render(tmp_path, 'systemd/etc/systemd/system/uwsgi@.service', hosts)
    old, new = [(tmp_path / host).read_text(encoding='utf-8') for host in ('old', 'new')]
    assert 'KillSignal=SIGTERM\n' in old and '--hook-master-start' not in old and 'SuccessExitStatus' not in old
    number = re.search('^KillSignal=([0-9]+)$', new, re.MULTILINE).group(1)
    assert '--hook-master-start "unix_signal:%s gracefully_kill_them_all"' % number in new
    assert 'SuccessExitStatus=SIGRTMIN+%d\n' % (int(number) - 34) in new
    for text in old, new:
        script = re.search("^ExecStart=/bin/sh -c '(.*?)' %i$", text, re.MULTILINE | re.DOTALL).group(1).replace('\\\n', '').replace('$$', '$')
        subprocess.run(['sh', '-n', '-c', script], check=True)


def test_what_the_user_asks_for_is_not_left_out(tmp_path):
    hosts = dict(uwsgi=dict(systemd=215, uwsgi='2.0.7-debian'))
    assert 'hook-master-start' in render(tmp_path, DEFAULTS, hosts, emperor_defaults={'hook-master-start': 'print:hello'})['uwsgi']


def test_the_program_of_the_units_heeds_no_variable_of_pythons(tmp_path):
    first = {}
    for major, executable in (2, '/usr/bin/python2.7'), (3, '/usr/bin/python3.13'):
        host = dict(python=dict(executable=executable, major=major))
        render(tmp_path, 'usr/local/lib/uwsgi-emperor/vassal-units', dict(host=host), role_path=ROLE)
        first[major] = (tmp_path / 'host').read_text(encoding='utf-8').split('\n')[0]
    assert first == {2: '#!/usr/bin/python2.7 -Es', 3: '#!/usr/bin/python3 -I'}


@pytest.fixture
def program(tmp_path):
    """The program of the units, in a directory of its own, and how it is called."""
    host = dict(python=dict(executable=sys.executable, major=3))
    render(tmp_path, 'usr/local/lib/uwsgi-emperor/vassal-units', dict(host=host), role_path=ROLE)
    path = tmp_path / 'lib' / 'vassal-units'
    path.parent.mkdir()
    (tmp_path / 'host').rename(path)

    def call(*arguments):
        return subprocess.run([sys.executable, '-I', str(path)] + list(arguments), check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return path, call


def test_the_program_of_the_units_consists_of_modules_that_python_keeps_compiled(program):
    path, call = program
    for dummy in range(2):
        done = call('begin')
        assert (done.returncode, done.stdout) == (2, '') and done.stderr.startswith('usage: vassal-units'), done.stderr
        modules = [one for one in path.parent.iterdir() if one != path]
        assert len(modules) == 1 and modules[0].stat().st_mode & 0o777 == 0o755
    package = modules[0] / 'ansible_collections/uwsgi/emperor/plugins/module_utils'
    names = set(one.stem for one in package.glob('_*.py')) - set(['__init__'])
    assert names == set(one.name.split('.')[0] for one in (package / '__pycache__').iterdir()) - set(['__init__'])
    for name in names:
        with open(os.path.join(ROLE, '../../plugins/module_utils/%s.py' % name), encoding='utf-8') as handle:
            assert (package / (name + '.py')).read_text(encoding='utf-8') == handle.read(), name


def test_the_program_of_the_units_has_all_that_it_imports_and_nothing_else():
    package = 'ansible_collections.uwsgi.emperor.plugins.module_utils'

    def imported(name):
        with open(os.path.join(ROLE, '../../plugins/module_utils/%s.py' % name), encoding='utf-8') as handle:
            nodes = [node for node in ast.walk(ast.parse(handle.read())) if isinstance(node, ast.ImportFrom) and node.module.startswith(package)]
        return set(name for node in nodes for name in ([one.name for one in node.names] if node.module == package else [node.module.rpartition('.')[2]]))

    needed, new = set(), set(['_unit_verbs'])
    while new:
        needed |= new
        new = set(word for name in new for word in imported(name)) - needed
    with open(os.path.join(ROLE, 'vars/main/host.yml'), encoding='utf-8') as handle:
        assert sorted(yaml.safe_load(handle)['__emperor_modules']) == sorted(needed)


def test_the_program_of_the_units_keeps_the_modules_of_one_former_release(program):
    path, call = program
    for number, name in enumerate(['modules-1', 'modules.killed', 'modules-2']):
        (path.parent / name).mkdir()
        os.utime(path.parent / name, (number, number))
    # as one that another first call removes right then: listed, and not there
    (path.parent / 'modules.gone').symlink_to('nowhere')
    done = call()
    assert done.returncode == 2 and done.stderr.startswith('usage:'), done.stderr
    (path.parent / 'modules.gone').unlink()
    left = sorted(one.name for one in path.parent.iterdir())
    assert len(left) == 3 and 'modules-2' in left and 'vassal-units' in left
    # what another call has made meanwhile is taken
    assert call().returncode == 2 and sorted(one.name for one in path.parent.iterdir()) == left


def test_of_several_first_calls_of_the_program_each_is_done(program):
    path, dummy = program
    calls = [subprocess.Popen([sys.executable, '-I', str(path)], stderr=subprocess.PIPE) for dummy in range(8)]
    assert [(call.communicate()[1][:6], call.returncode) for call in calls] == [(b'usage:', 2)] * 8
    assert len(list(path.parent.iterdir())) == 2


def test_the_role_ends_with_a_renewal_of_what_runs_by_previous_units_or_with_previous_defaults(tmp_path):
    def host(units=False, defaults=False, outdated=(), stale=(), done=(), supervisor='systemd', before='systemd'):
        """What the role has seen and changed; done: what it did as it set up each vassal."""
        vassals = [
            dict(name=name, enabled=True, running=name != 'd', config='/etc/uwsgi/apps-available/%s.ini' % name, stale=name in stale or None) for name in 'abcd'
        ]
        return dict(
            vassals=vassals, outdated=list(outdated), differing=['/etc/systemd/system/uwsgi@.service'] if units else [], defaults=defaults,
            vassals_set_up=[dict(name=name, actions=actions) for name, actions in dict(done).items()], supervisor=supervisor, before=before,
        )  # fmt: skip

    hosts = {
        'nothing': host(),
        'units': host(units=True),
        'defaults': host(defaults=True),
        'both': host(units=True, defaults=True),
        # set up in the same run: a new process has new units, a reloaded one new defaults, and a change of access nothing
        'units-set-up': host(units=True, done=dict(a=['write', 'reload'], b=['restart'], c=['chmod'])),
        'defaults-set-up': host(defaults=True, done=dict(a=['write', 'reload'], b=['restart'], c=['chmod'])),
        # an earlier run was cut off
        'late': host(outdated='ab', stale='bc', done=dict(a=['restart'])),
        'emperor': host(units=True, stale='a', supervisor='emperor'),
        # from the Emperor: all have just been started
        'moved': host(units=True, before='emperor'),
    }
    variables = dict(
        emperor_supervisor='{{ __emperor_host.supervisor }}',
        __emperor_differing='{{ __emperor_host.differing }}',
        __emperor_defaults_file=dict(changed='{{ __emperor_host.defaults }}'),
        __emperor_set_up=dict(vassals='{{ __emperor_host.vassals_set_up }}'),
        __emperor_restart=False,
        __emperor_by_systemd='{{ __emperor_host.before == "systemd" }}',
    )
    write(tmp_path, 'ansible.builtin.copy', dict(content='{{ __emperor_outdated | sort | join }}-{{ __emperor_stale | sort | join }}'), hosts, **variables)
    found = dict((name, (tmp_path / name).read_text()) for name in hosts)
    assert found == {
        'nothing': '-',
        'units': 'abc-',
        'defaults': '-abc',
        'both': 'abc-',
        'units-set-up': 'ac-',
        'defaults-set-up': '-c',
        'late': 'b-c',
        'emperor': '-a',
        'moved': '-',
    }
