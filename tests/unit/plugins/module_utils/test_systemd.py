# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _host, _processes, _systemd, _units, _watcher
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import bounded
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import Systemd
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError, make_plan

LOADED = 'Id=uwsgi@uwsgi.service\nLoadState=loaded\nActiveState=inactive\nMainPID=0\n'


class Systemctl(object):
    """Keeps what it was asked for; shows units."""

    def __init__(self, shown=LOADED, units=''):
        self.shown = shown
        self.units = units
        self.asked = []

    def __call__(self, argv, cwd=None):
        if argv[1] == 'show':
            return 0, self.units if argv[-1] == 'uwsgi@*.service' else self.shown, ''
        self.asked.append(' '.join(argv[1:]))
        return 0, '', ''


@pytest.fixture
def layout(tmp_path, monkeypatch):
    for name in 'available', 'enabled', 'wants':
        os.mkdir(str(tmp_path / name))
    for path in 'uwsgi@.socket', 'default.ini', 'available/a.ini', 'available/b.yml':
        open(str(tmp_path / path), 'w').close()
    monkeypatch.setattr(_systemd, 'SOCKET', str(tmp_path / 'uwsgi@.socket'))
    monkeypatch.setattr(_systemd, 'WANTS', str(tmp_path / 'wants'))
    return dict(
        unit='uwsgi.service', available_dir=str(tmp_path / 'available'), enabled_dir=str(tmp_path / 'enabled'), defaults=str(tmp_path / 'default.ini')
    )


def systemd(layout, systemctl):
    return _host.find_host(lambda argv, cwd=None: systemctl(argv[4:]), dict(layout, supervisor='systemd'))


def link(layout, directory, name):
    os.symlink('/nowhere' if directory == 'wants' else '../available/' + name, os.path.join(os.path.dirname(layout['available_dir']), directory, name))


def test_systemd_is_asked_once_for_many_vassals_and_enabled_before_started(layout):
    systemctl = Systemctl()
    host = systemd(layout, systemctl)
    for filename in 'a.ini', 'b.yml':
        host.link(filename)
        host.supervisor.start(filename)
    assert systemctl.asked == []
    host.supervisor.snapshot()
    host.supervisor.snapshot()
    both = 'uwsgi@a.service uwsgi@b.service'
    assert systemctl.asked == ['-q enable --no-reload ' + both, '-q reset-failed ' + both, '-q start --no-block ' + both]
    del systemctl.asked[:]
    host.unlink('a.ini')
    host.supervisor.stop_gracefully('b.yml', 7, again=True)
    host.supervisor.wake()
    assert systemctl.asked == [
        '-q disable --no-reload uwsgi@a.service',
        '-q stop --no-block uwsgi@a.service',
        '-q reset-failed uwsgi@a.service uwsgi@b.service',
        # nobody listens in the place of its socket, which a restart of the service alone would not mend
        '-q restart --no-block uwsgi@b.service uwsgi@b.socket',
    ]
    assert os.listdir(layout['enabled_dir']) == ['b.yml']


@pytest.mark.parametrize('again', [True, False])
def test_what_is_just_starting_is_ended_by_systemd(layout, again):
    """Its signal is one that a starting uWSGI does not ignore; an application that is unlinked is stopped with that."""
    systemctl = Systemctl()
    host = systemd(layout, systemctl)
    host.supervisor.knock = lambda address: None
    host.supervisor.end('a.ini', 7, again)
    host.supervisor.wake()
    assert systemctl.asked == (['-q reset-failed uwsgi@a.service', '-q restart --no-block uwsgi@a.service'] if again else [])


def test_a_systemctl_that_hangs_is_told_after_the_tasks_timeout(layout):
    asked = []

    def hangs(argv, cwd=None):
        asked.append(argv[:5])
        return 124, '', ''

    params = dict(layout, supervisor='systemd', timeout=5)
    with pytest.raises(VassalError, match=r'systemctl show .* did not end within 5 s: systemd \(PID 1\) or D-Bus does not answer'):
        _host.find_host(hangs, params)
    assert asked == [['timeout', '-k', '1', '5', 'systemctl']]
    host = _host.find_host(lambda argv, cwd=None: Systemctl()(argv[4:]), params)
    host.supervisor.run_command = bounded(hangs, 5)
    host.supervisor.start('a.ini')
    with pytest.raises(VassalError, match='systemctl -q reset-failed uwsgi@a.service did not end within 5 s'):
        host.supervisor.snapshot()


def test_of_a_journal_without_end_the_beginning_is_taken(monkeypatch, tmp_path):
    program = tmp_path / 'journalctl'
    program.write_text(u'#!/bin/sh\ni=0; while [ $i -lt 100000 ]; do echo "$1"; i=$((i+1)); done\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', '%s:%s' % (tmp_path, os.environ['PATH']))
    said = bounded(lambda argv: _processes.run_all([(argv, None)])[0], 60)(['journalctl', 'some words'])[1]
    assert said.startswith('some words\nsome words\n') and len(said) == 1 << 18


def test_a_look_finds_processes_and_failures_by_the_files_names(layout, monkeypatch):
    units = [
        'Id=uwsgi@a.service\nMainPID=70\nActiveState=active\nNRestarts=0\n',
        'Id=uwsgi@b.service\nMainPID=0\nActiveState=failed\nNRestarts=2\n',
        # a child of its master, as the application may name one
        'Id=uwsgi@c.service\nMainPID=81\nActiveState=active\nNRestarts=3\n',
        'Id=uwsgi@d.service\nMainPID=90\nActiveState=active\n',
        'Id=uwsgi@e.service\nMainPID=0\nActiveState=deactivating\n',
        'Id=uwsgi@f.service\nMainPID=99\nActiveState=active\n',
    ]
    monkeypatch.setattr(_processes, 'process', {1: (0, 1), 70: (1, 5), 80: (1, 5), 81: (80, 5), 90: (70, 5), 99: (1, 5)}.get)
    members = {70: 'uwsgi@a.service', 80: 'uwsgi@c.service', 81: 'uwsgi@c.service', 90: 'uwsgi@d.service'}
    monkeypatch.setattr(_processes, 'in_unit', lambda pid, unit: members.get(pid) == unit)
    host = systemd(layout, Systemctl(units='\n'.join(units)))
    view = host.supervisor.snapshot()
    # what is no child of systemd, or not of the unit, is nobody's
    assert view.pids == {'a.ini': 70, 'c.ini': 80}
    assert [host.supervisor.failures(filename, view) for filename in ('a.ini', 'b.yml', 'c.ini')] == [0, _systemd.FAILED, 3]
    # what else it has started is not gone yet, nor is its socket
    assert [name for name in 'abcde' if host.supervisor.leaves(name + '.ini', 0)] == ['e']


@pytest.mark.parametrize(
    'linked, wanted, enabled, disabling',
    [(False, False, False, []), (True, True, True, ['unlink']), (True, False, False, ['unlink']), (False, True, False, ['unlink'])],
    ids=['neither', 'both', 'link alone', 'unit alone'],
)
def test_enabled_takes_both_the_link_and_the_unit(layout, linked, wanted, enabled, disabling):
    if linked:
        link(layout, 'enabled', 'a.ini')
    if wanted:
        link(layout, 'wants', 'uwsgi@a.service')
    host = systemd(layout, Systemctl())
    found = host.situations(['a'], host.supervisor.snapshot())[0]
    assert found.enabled is enabled
    assert list(make_plan(found, 'disabled').actions) == disabling
    assert list(make_plan(found, 'enabled').actions) == ([] if enabled else ['link']) + ['start']


def test_what_systemd_goes_on_to_start_is_stopped_though_it_is_not_enabled(layout):
    host = systemd(layout, Systemctl(units='Id=uwsgi@a.service\nMainPID=0\nActiveState=activating\n\nId=uwsgi@b.service\nMainPID=0\nActiveState=failed\n'))
    found = host.situations(['a', 'b'], host.supervisor.snapshot())
    assert [list(make_plan(one, 'disabled').actions) for one in found] == [['unlink'], []]
    assert [one.enabled for one in found] == [False, False]


def test_without_its_units_it_says_what_to_do(layout):
    os.unlink(_systemd.SOCKET)
    host = systemd(layout, Systemctl())
    assert not host.supervisor.pid and 'emperor_supervisor: systemd' in host.supervisor.why_down
    assert host.supervisor.snapshot().pids == {}


def test_a_name_that_no_unit_can_have_is_refused(layout):
    with pytest.raises(VassalError, match=r'a\+b: under systemd a name consists of'):
        systemd(layout, Systemctl()).supervisor.refuse_if_served(u'a+b')


@pytest.mark.parametrize(
    'supervisor, installed, masked, own, by_systemd',
    [
        ('auto', True, True, True, True),
        ('auto', False, True, True, False),
        ('auto', True, False, True, False),  # a run of the role was cut off before the Emperor had ended
        ('auto', True, True, False, False),
        ('emperor', True, True, True, False),
        ('systemd', False, False, True, True),
    ],
)
def test_who_supervises(monkeypatch, tmp_path, supervisor, installed, masked, own, by_systemd):
    socket, emperor = [str(tmp_path / unit) for unit in ('uwsgi@.socket', 'uwsgi.service')]
    if installed:
        open(socket, 'w').close()
    if masked:
        os.symlink(os.devnull, emperor)
    else:
        open(emperor, 'w').close()
    monkeypatch.setattr(_systemd, 'SOCKET', socket)
    monkeypatch.setattr(_systemd, 'EMPEROR', emperor)
    params = dict((option, spec['default']) for option, spec in _host.layout_spec().items())
    params.update(supervisor=supervisor, **({} if own else {'enabled_dir': '/etc/uwsgi-emperor/vassals'}))
    assert isinstance(_host.find_host(lambda argv, cwd=None: Systemctl()(argv[4:]), params).supervisor, Systemd) is by_systemd


@pytest.mark.parametrize('need', ['yes', 'no'])
def test_systemd_reads_its_files_once_links_of_units_have_changed(monkeypatch, need):
    asked = []

    def run_command(argv):
        asked.append(argv[1])
        return 0, 'NeedDaemonReload=%s\n' % need, ''

    monkeypatch.setattr(_units, 'run_command', run_command)
    _watcher.read_units()
    assert asked == ['show'] + ['daemon-reload'] * (need == 'yes')


class Emperor(object):
    """The Emperor of a host in the role's layout."""

    unit = 'uwsgi.service'
    enabled_dir = '/etc/uwsgi/apps-enabled'
    files = property(lambda self: self)

    def __init__(self, **differs):
        self.asked = []
        vars(self).update(differs)

    def run_command(self, argv):
        self.asked.append(' '.join(argv))
        if argv[1] == 'show':
            return 0, 'Id=uwsgi@c.service\nActiveState=active\n\nId=uwsgi@d.service\nActiveState=failed\n', ''
        return 1, '', 'Unit uwsgi@b.service is masked.'


@pytest.fixture
def units(monkeypatch, tmp_path):
    """The role's units for an Emperor's vassals."""
    for name in 'SERVICE', 'SOCKET':
        monkeypatch.setattr(_systemd, name, str(tmp_path / name))
    monkeypatch.setattr(_systemd, 'MARKS', str(tmp_path / 'run' / 'marks'))
    monkeypatch.setattr(_systemd, 'FORGOTTEN', str(tmp_path / 'forgotten'))
    (tmp_path / 'SERVICE').write_text(u'')
    (tmp_path / 'run').mkdir()
    return tmp_path


def test_systemd_is_told_at_once_of_all_that_came_up(units):
    for dummy in range(2):
        host = Emperor()
        # what was said of it before it was enabled again does not hold any more
        _systemd._files.touch(_systemd.FORGOTTEN + '/uwsgi@a.service')
        _systemd.announce(host, ['a', 'b'], [])
        assert os.listdir(_systemd.FORGOTTEN) == []
        assert host.asked == ['systemctl -q start --job-mode=fail uwsgi@a.service uwsgi@b.service']
        assert sorted(os.listdir(_systemd.MARKS)) == ['uwsgi@a.service', 'uwsgi@b.service']
    host = Emperor()
    _systemd.announce(host, [], [])
    assert host.asked == []


def test_systemd_is_told_at_once_of_all_that_stopped_and_it_knows_as_active(units):
    _systemd._files.touch(_systemd.MARKS + '/uwsgi@c.service')
    host = Emperor()
    ask, found = host.run_command, []

    def run_command(argv):
        if 'stop' in argv:
            found.extend([os.listdir(_systemd.MARKS), os.listdir(_systemd.FORGOTTEN)])
        return ask(argv)

    host.run_command = run_command
    _systemd.announce(host, [], ['c', 'd'])
    assert host.asked == ['systemctl show -p Id -p ActiveState uwsgi@c.service uwsgi@d.service', 'systemctl -q stop --job-mode=fail uwsgi@c.service']
    # its stop asks nobody, and the next one does
    assert found == [[], ['uwsgi@c.service']]
    assert os.listdir(_systemd.FORGOTTEN) == []


@pytest.mark.parametrize('differs', [dict(unit='uwsgi-emperor.service'), dict(enabled_dir='/srv/vassals'), 'SERVICE', 'SOCKET', 'run'], ids=str)
def test_where_the_units_are_not_those_of_the_vassals_nothing_is_told(units, differs):
    if differs == 'SOCKET':
        (units / 'SOCKET').write_text(u'')
    elif differs in ('SERVICE', 'run'):
        (units / differs).rename(units / 'elsewhere')
    host = Emperor(**(differs if isinstance(differs, dict) else {}))
    _systemd.announce(host, ['a'], ['b'])
    assert host.asked == [] and not os.path.exists(_systemd.MARKS)


@pytest.mark.parametrize('error', [VassalError('systemctl did not end'), OSError(2, 'No such file or directory')])
def test_a_run_that_can_not_tell_systemd_is_good_all_the_same(units, error):
    def fail(argv):
        raise error

    _systemd.announce(Emperor(run_command=fail), ['a'], ['c'])
