# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import signal

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _hand_over, _systemd
from ansible_collections.uwsgi.emperor.plugins.module_utils._hand_over import hand_over
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError

SCRIPT = dict(LoadState='loaded', FragmentPath='/run/systemd/generator.late/uwsgi.service', ControlGroup='/system.slice/uwsgi.service')
OURS = dict(LoadState='loaded', FragmentPath='/etc/systemd/system/uwsgi.service', ControlGroup='/system.slice/uwsgi.service')
MASKED = dict(LoadState='masked', FragmentPath='/etc/systemd/system/uwsgi.service', ControlGroup='')
NOTHING = dict(LoadState='not-found', FragmentPath='', ControlGroup='')


class Host(object):
    """A host whose systemd does what it is asked for; what it was asked for, in order."""

    def __init__(self, path, shown):
        self.path = path
        self.shown = shown
        self.asked = []
        self.fails = {}  # a command's first words -> its exit code
        self.deaf = False  # whether an application has systemd wait until it is killed
        self.undead = False  # and goes on to
        self.daemons = {}  # PID -> how many looks it outlives a SIGQUIT, None for all

    def run(self, *argv):
        if argv[0] == 'timeout':
            argv = argv[4:]
            if self.deaf:
                return 124, '', ''
        if argv[:2] == ('systemctl', 'show'):
            return 0, '\n'.join('%s=%s' % item for item in self.shown.items()) + '\n', ''
        if argv[:2] != ('systemctl', 'kill'):
            self.asked.append(' '.join(argv))
        if argv[2:] == ('--signal=KILL', 'uwsgi@*.service'):
            self.deaf = self.undead
        for words, code in self.fails.items():
            if ' '.join(argv).startswith(words):
                return code, '', 'no such luck\n'
        return 0, '', ''

    def start(self, argv):
        self.asked.append(' '.join(argv))
        self.polls = 3
        return self

    def poll(self):
        self.polls -= 1
        self.returncode = self.fails.get('systemctl stop', 0)
        return None if self.polls > 0 else self.returncode

    def process(self, pid):
        return (1, 100 + pid) if pid in self.daemons else None

    def kill(self, pid, number):
        self.asked.append('%d gets %d' % (pid, number))
        if number == signal.SIGKILL or self.daemons[pid] == 0:
            del self.daemons[pid]

    def has(self, *names):
        return [name for name in names if os.path.lexists(str(self.path / name))]


@pytest.fixture
def host(monkeypatch, tmp_path, request):
    found = Host(tmp_path, getattr(request, 'param', NOTHING))
    for directory in 'enabled', 'available', 'wants', 'target.wants':
        (tmp_path / directory).mkdir()
    monkeypatch.setattr(_hand_over, 'run', found.run)
    monkeypatch.setattr(_hand_over._processes, 'start', found.start)
    monkeypatch.setattr(_hand_over._processes, 'process', found.process)
    monkeypatch.setattr(_hand_over._processes, 'kill', found.kill)
    monkeypatch.setattr(_hand_over, 'find_daemons', lambda shown: dict.fromkeys(found.daemons, 'one'))
    clock = iter(range(10**6))
    monkeypatch.setattr(_hand_over._processes, 'monotonic', lambda: next(clock) / 10.0)
    monkeypatch.setattr(_hand_over.time, 'sleep', lambda seconds: None)
    monkeypatch.setattr(_hand_over, 'DEFAULTS', dict(available_dir=str(tmp_path / 'available'), enabled_dir=str(tmp_path / 'enabled')))
    for module, name, path in (
        (_hand_over, 'AGREED', 'agreed'), (_hand_over, 'TARGET', 'target'), (_hand_over, 'WANTS', 'target.wants'), (_hand_over, 'EMPEROR_INI', 'ini'),
        (_systemd, 'WANTS', 'wants'), (_systemd, 'SOCKET', 'socket'), (_systemd, 'EMPEROR', 'uwsgi.service'),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, str(tmp_path / path))
    if found.shown['FragmentPath'].startswith('/etc'):
        found.shown = dict(found.shown, FragmentPath=str(tmp_path / 'uwsgi.service'))
    return found


STARTED = ['systemd-tmpfiles --create --prefix=' + _files.RUN_DIR, 'systemctl daemon-reload', 'systemctl start uwsgi.service']


@pytest.mark.parametrize(
    'host, units, asked',
    [
        (SCRIPT, [], ['systemctl stop uwsgi.service'] + STARTED),
        (SCRIPT, ['uwsgi-emperor.service'], ['systemctl stop uwsgi.service uwsgi-emperor.service'] + STARTED),
        (OURS, ['uwsgi-emperor.service'], ['systemctl stop uwsgi-emperor.service'] + STARTED),
        # who asks for the hand-over starts and restarts the Emperor
        (OURS, [], []),
        (NOTHING, [], []),
        (MASKED, [], []),
    ],
    indirect=['host'],
    ids=['script', 'script and another', 'another', 'ours', 'nothing', 'masked'],
)
def test_the_emperor_begins_once_its_predecessors_have_ended(host, units, asked):
    assert hand_over('emperor', units) == 0
    assert host.asked == asked


@pytest.mark.parametrize('host', [MASKED], indirect=True)
def test_from_systemd_to_the_emperor(host):
    for name in 'socket', 'agreed', 'wants/uwsgi@a.service', 'wants/uwsgi-vassals.service', 'wants/cron.service':
        (host.path / name).write_bytes(b'')
    assert hand_over('emperor') == 0
    assert host.asked == ['systemctl stop uwsgi-vassals.service uwsgi@*.service uwsgi@*.socket'] + STARTED
    assert host.has('socket', 'agreed', 'wants/uwsgi@a.service', 'wants/uwsgi-vassals.service', 'wants/cron.service') == ['wants/cron.service']


@pytest.mark.parametrize('host', [MASKED], indirect=True)
def test_an_application_that_has_systemd_wait_is_killed(host):
    (host.path / 'socket').write_bytes(b'')
    host.deaf = True
    assert hand_over('emperor') == 0
    assert not host.deaf and host.has('socket') == []


@pytest.mark.parametrize('host', [MASKED], indirect=True)
def test_an_application_that_outlives_its_death_keeps_the_others_from_nothing(host, capsys):
    (host.path / 'socket').write_bytes(b'')
    host.deaf = host.undead = True
    assert hand_over('emperor') == 0
    assert host.asked[-1] == 'systemctl start uwsgi.service' and host.has('socket') == []
    assert 'does not end though it was killed' in capsys.readouterr().err


@pytest.mark.parametrize('host', [MASKED], indirect=True)
def test_what_systemd_does_not_stop_keeps_its_units(host):
    (host.path / 'socket').write_bytes(b'')
    host.fails['systemctl stop'] = 1
    with pytest.raises(VassalError, match='systemctl stop .* ended with 1: no such luck'):
        hand_over('emperor')
    assert len(host.asked) == 1 and host.has('socket')


@pytest.mark.parametrize('host', [SCRIPT], indirect=True)
def test_the_emperor_does_not_begin_beside_a_service_that_does_not_stop(host):
    host.fails['systemctl stop'] = 5
    with pytest.raises(VassalError, match='systemctl stop uwsgi.service ended with 5'):
        hand_over('emperor')
    assert host.asked == ['systemctl stop uwsgi.service']


@pytest.mark.parametrize('host', [OURS, SCRIPT], indirect=True, ids=['emperor', 'script'])
def test_from_the_emperor_or_the_init_script_to_systemd(host):
    for name in 'enabled/a.ini', 'enabled/b-c.xml', 'enabled/off.ini', 'enabled/README', 'target', 'target.wants/uwsgi@a.service', 'ini', 'agreed':
        (host.path / name).write_bytes(b'')
    (host.path / 'uwsgi.service').write_bytes(b'')
    assert hand_over('systemd', ['uwsgi-emperor.service'], ['off']) == 0
    assert host.asked == [
        'systemctl stop uwsgi-vassals.service uwsgi-emperor.service',
        'systemd-tmpfiles --create --prefix=/run/uwsgi',
        'systemctl daemon-reload',
        # what is to be disabled is, by who asks for the hand-over: the link alone would say nothing
        'systemctl --no-reload enable uwsgi@a.service uwsgi@b-c.service uwsgi@off.service',
        'systemctl start uwsgi@a.service uwsgi@b-c.service',
        'systemctl stop uwsgi.service',
        'systemctl --no-reload disable uwsgi.service',
        'systemctl daemon-reload',
        'systemctl reset-failed uwsgi.service',
    ]
    assert not host.has('target', 'target.wants', 'ini', 'agreed')
    assert os.readlink(str(host.path / 'uwsgi.service')) == os.devnull


def test_to_systemd_without_any_application(host):
    assert hand_over('systemd') == 0
    assert not [asked for asked in host.asked if 'uwsgi@' in asked]
    assert os.readlink(str(host.path / 'uwsgi.service')) == os.devnull


def test_who_does_not_come_up_keeps_nobody_from_asking_systemd(host, capsys):
    (host.path / 'enabled/a.ini').write_bytes(b'')
    host.deaf = True
    host.fails['systemctl start'] = 1
    assert hand_over('systemd') == 0
    assert host.asked[-1] == 'systemctl start uwsgi@a.service' and os.readlink(str(host.path / 'uwsgi.service')) == os.devnull
    assert capsys.readouterr().err == 'no such luck\n'


def test_what_does_not_start_under_systemd_is_told_and_no_error(host, capsys):
    (host.path / 'enabled/a.ini').write_bytes(b'')
    host.fails['systemctl start'] = 1
    assert hand_over('systemd') == 0
    assert capsys.readouterr().err == 'no such luck\n'
    assert os.readlink(str(host.path / 'uwsgi.service')) == os.devnull


@pytest.mark.parametrize('host', [OURS], indirect=True)
def test_systemd_has_to_read_its_units(host):
    host.fails['systemctl daemon-reload'] = 1
    with pytest.raises(VassalError, match='daemon-reload'):
        hand_over('systemd')
    assert host.asked[-1] == 'systemctl daemon-reload' and 'systemctl stop uwsgi.service' not in host.asked


@pytest.mark.parametrize('supervisor', ['emperor', 'systemd'])
def test_daemons_of_the_init_script_end_first_all_at_once(host, supervisor):
    host.daemons = {11: 0, 12: 0}
    assert hand_over(supervisor) == 0
    assert host.asked[:2] == ['11 gets %d' % signal.SIGQUIT, '12 gets %d' % signal.SIGQUIT]
    assert not [asked for asked in host.asked[2:] if 'gets' in asked]


def test_a_daemon_that_does_not_end_is_killed(host):
    host.daemons = {11: None, 12: 0}
    assert hand_over('emperor') == 0
    assert host.asked == ['11 gets %d' % signal.SIGQUIT, '12 gets %d' % signal.SIGQUIT, '11 gets %d' % signal.SIGKILL]


def test_a_daemon_that_outlives_its_death_is_told_and_keeps_the_others_from_nothing(host, monkeypatch, capsys):
    host.daemons = {11: None}
    told = []
    monkeypatch.setattr(_hand_over._processes, 'kill', lambda pid, number: told.append((pid, number)))
    assert hand_over('systemd') == 0
    assert told == [(11, signal.SIGQUIT), (11, signal.SIGKILL)]
    assert 'though they were killed; the others do not wait for that: 11.' in capsys.readouterr().err
    assert host.asked[-1] == 'systemctl reset-failed uwsgi.service'


def test_another_process_by_the_number_of_a_daemon_is_neither_signalled_nor_waited_for(host, monkeypatch):
    host.daemons = {11: None}
    looks = iter([(1, 111), (1, 111)])
    monkeypatch.setattr(_hand_over._processes, 'process', lambda pid: next(looks, (1, 999)))
    assert hand_over('emperor') == 0
    assert host.asked == ['11 gets %d' % signal.SIGQUIT]
