# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _units, _watcher
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import Snapshot
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import name_of, unit_of


@pytest.fixture(autouse=True)
def forgotten(monkeypatch, tmp_path):
    """Where the watcher says that a vassal is gone."""
    path = tmp_path / 'forgotten'
    monkeypatch.setattr(_units, 'FORGOTTEN', str(path))
    return path


@pytest.mark.parametrize('name, unit', [('redmine', 'uwsgi@redmine.service'), ('a-b.c_d@e', 'uwsgi@a-b.c_d@e.service'), ('a+b', r'uwsgi@a\x2bb.service')])
def test_a_vassal_and_its_unit_know_each_other(name, unit):
    assert unit_of(name) == unit
    assert name_of(unit) == name
    assert name_of(unit[len('uwsgi@') : -len('.service')]) == name


def test_a_masked_unit_is_told_once(monkeypatch, tmp_path, capsys):
    for name, target in ('uwsgi@a.service', '/dev/null'), ('uwsgi@b.service', '/etc/hosts'), ('other.service', '/dev/null'):
        (tmp_path / name).symlink_to(target)
    monkeypatch.setattr(_watcher, 'MASKS', (str(tmp_path), str(tmp_path / 'nowhere')))
    watcher = _watcher.Watcher(FakeHost(busy=False))
    assert [watcher.masked() for dummy in range(3)] == [set(['a'])] * 3
    assert capsys.readouterr()[0].count('uwsgi@a.service is masked') == 1


def test_what_systemctl_refuses_is_told_once(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path))
    monkeypatch.setattr(_units, 'run_command', lambda argv: (1, '', 'no such thing'))
    watcher = _watcher.Watcher(FakeHost(busy=False))
    for dummy in range(3):
        assert watcher.act([('notice', 'a')]) == (set(), set())
    assert capsys.readouterr()[0] == 'start uwsgi@a.service: no such thing\n'
    # agreed on, what is linked and not enabled would be stopped by the next look
    assert watcher.act([('enable', 'b'), ('disable', 'c')]) == (set(['b']), set())
    # nor what is to be stopped for what is to be enabled
    assert watcher.act([('stop', 'd'), ('forget', 'e')]) == (set(), set(['d']))


@pytest.mark.parametrize('refuses', [False, True])
def test_a_unit_is_told_to_forget_its_vassal_for_its_stop_alone(monkeypatch, tmp_path, forgotten, refuses):
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
    told = []

    def run_command(argv):
        told.append((argv[1], (forgotten / 'uwsgi@a.service').exists()))
        return int(refuses), '', ''

    monkeypatch.setattr(_units, 'run_command', run_command)
    _units.mark('a', True)
    _watcher.Watcher(FakeHost(busy=False)).act([('disable', 'a'), ('forget', 'a'), ('start', 'b')])
    # systemctl disable may take long
    assert told == [('disable', False), ('stop', True), ('start', not refuses)]
    assert not _units.mark('a', False)


def test_a_vassal_without_its_socket_is_not_up_and_its_configuration_is_asked_once(monkeypatch, tmp_path):
    host = FakeHost(busy=False)
    read = []
    monkeypatch.setattr(_watcher, 'usual_socket', lambda filename: str(tmp_path / (filename[:-4] + '.socket')))
    host.forget = read.append
    # b names another one
    host.lost_socket = lambda filename: filename == 'a.ini'
    watcher = _watcher.Watcher(host)
    for filename, there in ('a.ini', False), ('b.ini', True):
        (tmp_path / (filename[:-4] + '.socket')).write_text(u'')
        assert watcher._reachable(filename, 7) and read == []
        (tmp_path / (filename[:-4] + '.socket')).unlink()
        assert [watcher._reachable(filename, pid) for pid in (7, 7, 8)] == [there] * 3
        assert read == [filename] * 2
        del read[:]


class FakeHost(object):
    """A host on which a run of the module is at work, or none."""

    pid = 1
    # it is its own parts
    supervisor = files = configurations = property(lambda self: self)
    enabled_dir = '/etc/uwsgi/apps-enabled'

    def __init__(self, busy):
        self.busy = lambda: busy

    def enabled(self):
        return {}


def test_a_run_of_the_module_that_takes_long_is_not_waited_for(monkeypatch):
    watcher = _watcher.Watcher(FakeHost(busy=True))
    watcher.agreed = dict.fromkeys(['up', 'gone'], (None, None))
    units = ['uwsgi@up.service', 'uwsgi@gone.service']
    states = dict(up='inactive', gone='active')
    told = []

    def act(acts):
        told.append(' '.join(act for act, name in acts))
        if ('disable', 'gone') in acts:
            units.pop()
            states.pop('gone')
        return set(), set()

    monkeypatch.setattr(watcher, 'look', lambda: (set(['up']), set(['up']), set(), set()))
    monkeypatch.setattr(watcher, 'states', lambda: dict(states))
    monkeypatch.setattr(watcher, 'act', act)
    monkeypatch.setattr(_watcher._files, 'entries', lambda directory: units)
    monkeypatch.setattr(_watcher, 'write_lines', lambda path, lines: None)
    for dummy in range(_watcher.RISES_EVERY):
        watcher.tick()
    assert told == [''] * (_watcher.FALLS_EVERY - 1) + ['disable forget'] + [''] * (_watcher.RISES_EVERY - _watcher.FALLS_EVERY - 1) + ['notice']


@pytest.mark.parametrize('restarts', [False, True], ids=['', 'another watcher'])
@pytest.mark.parametrize(
    'away, back, acts',
    [
        ('stone.ini uwsgi@stone.service', 'stone.ini', ['enable']),
        ('stone.ini uwsgi@stone.service', 'uwsgi@stone.service', ['start']),
        ('uwsgi@stone.service', '', ['end']),
        ('stone.ini', '', ['disable']),
        ('stone.ini', 'stone.ini', []),
    ],
    ids=['stopped and linked', 'stopped and enabled', 'disabled', 'unlinked', 'linked again'],
)
def test_what_was_made_again_is_not_taken_for_what_was_left(monkeypatch, tmp_path, away, back, acts, restarts):
    for module, name in (_watcher, 'AGREED'), (_units, 'WANTS'), (_units, 'MARKS'):
        monkeypatch.setattr(module, name, str(tmp_path / name))
    monkeypatch.setattr(_watcher.Watcher, 'states', staticmethod(lambda: {}))
    paths = {'stone.ini': str(tmp_path / 'stone.ini'), 'uwsgi@stone.service': _units.WANTS + '/uwsgi@stone.service'}
    told = []

    def watcher():
        found = _watcher.Watcher(FakeHost(busy=False))
        found.host.enabled_dir = str(tmp_path)
        found.host.enabled = lambda: {'stone': 'stone.ini'} if os.path.lexists(paths['stone.ini']) else {}
        found.host.snapshot = lambda: Snapshot({}, None, {})
        monkeypatch.setattr(found, 'act', lambda acts: told.extend(act for act, name in acts) or (set(), set()))
        return found

    os.mkdir(_units.WANTS)
    for path in paths.values():
        os.symlink('nowhere', path)
    first = watcher()
    first.tick()
    if restarts:
        first = watcher()
    for name in away.split():
        os.unlink(paths[name])
    if back:
        # an inode's number is used again soon; the time counts, which the kernel has by some milliseconds
        _watcher.time.sleep(0.02)
        os.symlink('nowhere', paths[back])
    assert told == []
    first.tick()
    assert told == acts


@pytest.mark.parametrize('act', ['start', 'notice', 'restart', 'stop', 'forget'])
def test_what_somebody_has_asked_systemd_for_is_not_called_off(monkeypatch, tmp_path, act):
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path))
    asked = []
    monkeypatch.setattr(_units, 'run_command', lambda argv: asked.append(argv) or (0, '', ''))
    _watcher.Watcher(FakeHost(busy=False)).act([(act, 'a')])
    assert len(asked) == 1 and '--job-mode=fail' in asked[0], asked


def test_what_could_not_be_stopped_is_to_be_stopped_by_the_next_look(monkeypatch, tmp_path):
    for module, name in (_watcher, 'AGREED'), (_units, 'WANTS'), (_units, 'MARKS'):
        monkeypatch.setattr(module, name, str(tmp_path / name))
    watcher = _watcher.Watcher(FakeHost(busy=False))
    watcher.agreed = {'a': (None, None)}
    monkeypatch.setattr(watcher, 'look', lambda: (set(['a']), set(), set(), set()))
    monkeypatch.setattr(watcher, 'states', lambda: {'a': 'active'})
    asked = []

    def run_command(argv):
        asked.append(argv[1])
        return int(len(asked) == 1), '', 'Transaction is destructive.'

    monkeypatch.setattr(_units, 'run_command', run_command)
    watcher.tick()
    assert sorted(watcher.agreed) == ['a']
    watcher.tick()
    assert asked == ['stop', 'stop'] and not watcher.agreed


@pytest.mark.parametrize('linked', [True, False])
def test_what_changes_between_the_look_and_systemds_answer_is_left_to_the_next_look(monkeypatch, tmp_path, linked):
    """A run of the module that links, or unlinks, a vassal and has systemd know: the unit is active then and the look without the link, or the reverse."""
    for module, name in (_watcher, 'AGREED'), (_units, 'WANTS'), (_units, 'MARKS'):
        monkeypatch.setattr(module, name, str(tmp_path / name))
    path = tmp_path / 'stone.ini'
    watcher = _watcher.Watcher(FakeHost(busy=False))
    watcher.host.enabled_dir = str(tmp_path)
    watcher.host.enabled = lambda: {'stone': 'stone.ini'} if os.path.lexists(str(path)) else {}
    watcher.host.snapshot = lambda: Snapshot({}, None, {})
    told = []
    monkeypatch.setattr(watcher, 'act', lambda acts: told.append([act for act, name in acts]) or (set(), set()))
    states = dict(stone='inactive' if linked else 'active')

    def answer():
        if linked and path.is_symlink():
            path.unlink()
        elif not linked and not path.is_symlink():
            path.symlink_to('nowhere')
        return states

    monkeypatch.setattr(watcher, 'states', answer)
    if linked:
        path.symlink_to('nowhere')
    watcher.tick()
    assert told == [[]]


@pytest.mark.parametrize('comes_up', [True, False])
def test_what_comes_up_between_the_look_and_systemds_answer_is_not_restarted(monkeypatch, tmp_path, comes_up):
    """A slow start: two looks found it down, then the run of the module that has waited for it has systemd know, and ends."""
    for module, name in (_watcher, 'AGREED'), (_units, 'WANTS'), (_units, 'MARKS'):
        monkeypatch.setattr(module, name, str(tmp_path / name))
    os.mkdir(_units.WANTS)
    os.symlink('nowhere', _units.WANTS + '/uwsgi@stone.service')
    watcher = _watcher.Watcher(FakeHost(busy=False))
    watcher.host.enabled = lambda: {'stone': 'stone.ini'}
    pids, states, told = {}, {}, []
    watcher.host.snapshot = lambda: Snapshot(dict(pids), None, {})
    monkeypatch.setattr(watcher, '_accepts', lambda view, filename, pid: True)
    monkeypatch.setattr(watcher, '_reachable', lambda filename, pid: True)
    monkeypatch.setattr(watcher, 'act', lambda acts: told.append([act for act, name in acts]) or (set(), set()))

    def answer():
        if len(told) == _watcher.DOWN_AFTER - 1:
            states.update(stone='active')
            pids.update({'stone.ini': 7} if comes_up else {})
        return dict(states)

    monkeypatch.setattr(watcher, 'states', answer)
    for dummy in range(_watcher.DOWN_AFTER):
        watcher.tick()
    assert told[-1] == ([] if comes_up else ['restart'])


def test_what_a_former_release_agreed_on_holds(monkeypatch, tmp_path):
    monkeypatch.setattr(_watcher, 'AGREED', str(tmp_path / 'agreed'))
    (tmp_path / 'agreed').write_text(u'hello\nstone\n')
    assert _watcher.Watcher(FakeHost(busy=False)).agreed == dict(hello=(None, None), stone=(None, None))
    assert not _watcher._renewed((None, None), ('1:1.0', '2:2.0'))


@pytest.mark.parametrize(
    'waiting, runs',
    [
        (['uwsgi.service stop', 'uwsgi-vassals.service stop'], True),
        (['uwsgi.service restart', 'uwsgi-vassals.service restart'], True),
        (['shutdown.target start', 'uwsgi-vassals.service stop'], True),
        # it has died
        (['uwsgi-vassals.service restart'], False),
        # nobody is to follow
        (['uwsgi-vassals.service stop'], True),
        ([], True),
    ],
)
def test_without_the_emperor_all_units_stop_though_systemd_removes_the_marks_at_the_same_time(monkeypatch, tmp_path, waiting, runs):
    commands = []

    def run_command(argv):
        if 'list-jobs' not in argv:
            commands.append(argv)
        return 0, ''.join('%d %s running\n' % (number, line) for number, line in enumerate(waiting)), ''

    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
    monkeypatch.setattr(_watcher, 'AGREED', str(tmp_path / 'agreed'))
    monkeypatch.setattr(_watcher._processes, 'process', lambda pid: (1, 1) if runs and pid == 1 else None)
    _units.mark('stone', True)
    listdir = os.listdir
    monkeypatch.setattr(os, 'listdir', lambda path: listdir(path) + ['gone'])
    monkeypatch.setattr(_watcher.Watcher, 'states', staticmethod(lambda: dict(stone='active', hello='inactive')))
    monkeypatch.setattr(_units, 'run_command', run_command)
    _watcher.Watcher(FakeHost(busy=False)).end()
    assert commands == [['systemctl', 'stop', '--no-block', 'uwsgi@stone.service']]
    assert not os.path.exists(_units.MARKS)
    assert listdir(_units.FORGOTTEN) == ['uwsgi@stone.service']


@pytest.mark.parametrize(
    'others, all_stop',
    [(['uwsgi.service restart'], False), (['uwsgi.service restart', 'shutdown.target start'], True), (['uwsgi.service stop', 'rescue.target start'], True)],
    ids=['by somebody', 'shutdown', 'rescue'],
)
def test_what_somebody_has_stopped_before_the_watcher_has_ended_asks_its_vassal(monkeypatch, tmp_path, others, all_stop):
    waiting = ['uwsgi@stone.service stop', 'uwsgi@hello.service restart'] + others
    jobs = ''.join('%d %s waiting\n' % (number, line) for number, line in enumerate(waiting))
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
    monkeypatch.setattr(_watcher, 'AGREED', str(tmp_path / 'agreed'))
    monkeypatch.setattr(_watcher.Watcher, 'states', staticmethod(lambda: dict(stone='active', hello='active')))
    monkeypatch.setattr(_units, 'run_command', lambda argv: (0, jobs if 'list-jobs' in argv else '', ''))
    _units.mark('hello', True)
    _watcher.Watcher(FakeHost(busy=False)).end()
    assert sorted(os.listdir(_units.FORGOTTEN)) == ['uwsgi@hello.service'] + ['uwsgi@stone.service'] * all_stop
    assert _watcher._files.entries(_units.MARKS) == ['uwsgi@stone.service'] * (not all_stop)


def test_a_watcher_that_is_restarted_leaves_units_and_marks_as_they_are(monkeypatch, tmp_path):
    def run_command(argv):
        assert 'list-jobs' in argv, argv
        return 0, '7 uwsgi-vassals.service restart running\n', ''

    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
    monkeypatch.setattr(_watcher, 'AGREED', str(tmp_path / 'agreed'))
    monkeypatch.setattr(_watcher.Watcher, 'states', staticmethod(lambda: dict(stone='active')))
    monkeypatch.setattr(_units, 'run_command', run_command)
    _units.mark('stone', True)
    _watcher.Watcher(FakeHost(busy=False)).end()
    assert _units.mark('stone', False) and not os.path.exists(_units.FORGOTTEN)


def test_a_start_that_somebody_waits_for_is_not_done_again(monkeypatch):
    """Down for many looks while its unit starts it, a vassal is not down the moment the unit is active."""
    watcher = _watcher.Watcher(FakeHost(busy=False))
    told = []
    down = {}

    def look():
        down['a'] = watcher._down_for['a'] = watcher._down_for.get('a', 0) + 1
        names = set(['a'])
        return names, set(), set(name for name, looks in down.items() if looks >= _watcher.DOWN_AFTER), set()

    states = iter(['activating'] * 5 + ['active'])
    monkeypatch.setattr(watcher, 'look', look)
    monkeypatch.setattr(watcher, 'states', lambda: dict(a=next(states)))
    monkeypatch.setattr(watcher, 'act', lambda acts: told.extend(acts) or (set(), set()))
    monkeypatch.setattr(_watcher._files, 'entries', lambda directory: ['uwsgi@a.service'])
    monkeypatch.setattr(_watcher, 'write_lines', lambda path, lines: None)
    for dummy in range(6):
        watcher.tick()
    assert told == []


@pytest.mark.parametrize('off', [False, True], ids=['disabled while it failed', 'a start that failed right after a stop'])
def test_a_start_that_fails_right_after_a_stop_stays_failed(monkeypatch, tmp_path, off):
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
    monkeypatch.setattr(_units, 'WANTS', str(tmp_path / 'wants'))
    monkeypatch.setattr(_watcher, 'AGREED', str(tmp_path / 'agreed'))
    (tmp_path / 'agreed').write_text(u'a+b\nother\n')
    watcher = _watcher.Watcher(FakeHost(busy=False))
    told = []
    monkeypatch.setattr(watcher, 'look', lambda: (set(['other']), set(), set(), set()))
    monkeypatch.setattr(watcher, 'states', lambda: {'a+b': 'failed', 'other': 'activating'})
    monkeypatch.setattr(watcher, 'act', lambda acts: told.extend(acts) or (set(), set()))
    if off:
        _units.switch_off('a+b')
    watcher.tick()
    watcher.tick()
    assert told == ([] if off else [('reset', 'a+b')]) and _units.switched_off() == set()
    assert sorted(_watcher.Watcher(FakeHost(busy=False)).agreed) == ['other']
