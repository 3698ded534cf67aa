# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import subprocess

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _unit_verbs, _units
from ansible_collections.uwsgi.emperor.plugins.module_utils._job import Job
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Situation, VassalError, make_plan


@pytest.fixture(autouse=True)
def forgotten(monkeypatch, tmp_path):
    """Where the watcher says that a vassal is gone."""
    path = tmp_path / 'forgotten'
    monkeypatch.setattr(_units, 'FORGOTTEN', str(path))
    return path


class Host(object):
    """A host whose Emperor runs."""

    pid = 1
    # it is its own parts
    supervisor = files = configurations = property(lambda self: self)
    enabled_dir = '/etc/uwsgi/apps-enabled'


@pytest.mark.parametrize(
    'age, workers, starts',
    [(1, [], True), (0, [], True), (25, [], False), (None, [], False), (25, [0, 9], True), (25, [9, 9], False), (3, [2], False), (3, [None], True)],
    ids=['loads', 'has just begun', 'has no workers', 'is gone', 'one is young', 'runs', 'runs since a moment ago', 'its worker is gone'],
)
def test_a_vassal_starts_until_its_workers_are_out_of_their_first_instants(monkeypatch, age, workers, starts):
    ages = dict(enumerate([age] + workers))
    monkeypatch.setattr(_unit_verbs._processes, 'age', ages.get)
    monkeypatch.setattr(_unit_verbs._processes, 'workers', lambda pid: sorted(set(ages) - set([pid])))
    assert _unit_verbs.starting(0) is starts


@pytest.mark.parametrize('asked, old, links', [(False, False, True), (True, False, False), (True, True, True)], ids=['user', 'watcher', 'long ago'])
def test_a_vassal_that_was_disabled_is_not_enabled_by_the_watchers_question(monkeypatch, tmp_path, asked, old, links):
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
    monkeypatch.setattr(_units, 'WANTS', str(tmp_path / 'wants'))
    monkeypatch.setattr(_units, 'run_command', lambda argv: (0, '', ''))
    did = []
    # a host without the link, whose situation is asked for twice: before and after the lock
    job = Job(Situation('a', text=b''), make_plan(Situation('a', text=b''), 'enabled'))
    host = Host()
    host.pid = 1
    host.lock = lambda timeout, tell, sleep: os.open(str(tmp_path), os.O_RDONLY)
    host.enabled = lambda: {}
    monkeypatch.setattr(_unit_verbs, 'find_host', lambda run_command, params: host)
    monkeypatch.setattr(_unit_verbs, 'plan', lambda host, name, state, watched, resumes: job)

    def run_it(host, jobs, timeout, sleep):
        did.extend(jobs[0].plan.actions)
        jobs[0].after = Situation('a', text=b'', link='right', pid=7, accepting=True)

    monkeypatch.setattr(_unit_verbs, 'execute', run_it)
    if asked:
        _units.ask('a')
        if old:
            os.utime(str(tmp_path / 'marks' / 'uwsgi@a.service.asked'), (1, 1))
    assert _unit_verbs.run_verb('start', 'a') == 0
    assert did == (['link', 'start'] if links else [])
    # and it holds but once
    del did[:]
    assert _unit_verbs.run_verb('start', 'a') == 0
    assert did == ['link', 'start']


class Unit(object):
    """systemd's job for uwsgi@a.service while a verb runs; what the verb asks of systemctl, and what it does, in order."""

    def __init__(self, monkeypatch, tmp_path, *kinds):
        self.kinds = list(kinds)  # of the job, at each look at it; the last one stays
        self.did = []
        self.fails = {}  # state -> what is raised
        self.accepting = True
        self.watcher = True  # whether it is there
        self.host = Host()
        self.host.enabled = lambda: {'a': 'a.ini'}
        self.host.snapshot = lambda: None
        self.host.situations = lambda names, view: [Situation('a', pid=7, accepting=self.accepting)]
        monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))
        monkeypatch.setattr(_unit_verbs, 'LINGER', 0.01)
        monkeypatch.setattr(_units, 'run_command', self.run_command)
        monkeypatch.setattr(_unit_verbs, 'find_host', lambda run_command, params: self.host)
        monkeypatch.setattr(_unit_verbs, 'carry_out', self.carry_out)
        monkeypatch.setattr(_unit_verbs.signal, 'signal', lambda number, handler: None)

    def run_command(self, argv):
        if argv[2] == 'is-active':
            return (0 if self.watcher else 3), '', ''
        if argv[1] != 'list-jobs':
            self.did.append(' '.join(argv[1:]))
            if argv[1] == 'cancel':
                self.kinds = self.kinds[1:] or [None]
            return 0, '', ''
        kind = self.kinds.pop(0) if len(self.kinds) > 1 else self.kinds[0]
        units = {'uwsgi.service': 'uwsgi.service restart', 'shutdown.target': 'shutdown.target start', 'rescue.target': 'uwsgi.service stop'}
        return 0, ''.join('5 %s running\n' % units.get(word, 'uwsgi@a.service ' + word) for word in (kind or '').split()), ''

    def carry_out(self, name, state, watched, told, resumes):
        self.did.append(state)
        found = self.fails.get(state)
        if found:
            if isinstance(found, _unit_verbs.CutOff):
                del self.fails[state]
            raise found


@pytest.mark.parametrize('kind, state', [('stop', 'disabled'), ('restart', 'restarted'), ('try-restart', 'restarted')])
@pytest.mark.parametrize('error', [VassalError('x: no.\nWhy'), OSError(30, 'Read-only file system'), KeyError('a bug')], ids=['told', 'files', 'bug'])
def test_a_stop_that_fails_calls_its_job_off_and_its_unit_is_active_again(monkeypatch, tmp_path, kind, state, error, capsys):
    unit = Unit(monkeypatch, tmp_path, kind)
    unit.fails[state] = error
    _units.mark('a', True)
    assert _unit_verbs.run_verb('stop', 'a') == 1
    assert unit.did == [state, 'cancel 5', '-q start --no-block uwsgi@a.service']
    assert str(error.args[-1]).splitlines()[-1] in capsys.readouterr()[1]


@pytest.mark.parametrize('kind, state', [('stop', 'disabled'), ('restart', 'restarted')])
def test_a_unit_whose_mark_is_lost_stops_and_restarts_its_vassal(monkeypatch, tmp_path, kind, state):
    unit = Unit(monkeypatch, tmp_path, kind)
    assert _unit_verbs.run_verb('stop', 'a') == 0
    assert unit.did == [state]


def test_what_stops_with_its_watcher_is_not_disabled_though_nothing_says_so(monkeypatch, tmp_path):
    unit = Unit(monkeypatch, tmp_path, 'stop')
    unit.watcher = False
    with pytest.raises(VassalError):
        _unit_verbs.run_verb('stop', 'a')
    assert unit.did == ['cancel 5']
    # with a mark it is somebody's own wish
    unit = Unit(monkeypatch, tmp_path, 'stop')
    unit.watcher = False
    _units.mark('a', True)
    assert _unit_verbs.run_verb('stop', 'a') == 0 and unit.did == ['disabled']


@pytest.mark.parametrize('kind, did', [('restart', []), ('stop', ['disabled'])])
def test_a_restart_by_which_the_watcher_asks_restarts_nothing_and_a_stop_at_that_time_is_one(monkeypatch, tmp_path, kind, did):
    unit = Unit(monkeypatch, tmp_path, kind)
    _units.mark('a', True)
    _units.ask('a')
    assert _unit_verbs.run_verb('stop', 'a') == 0
    assert unit.did == did
    assert _units.asked('a')


TEMPLATE = os.path.join(os.path.dirname(__file__), '../../../../roles/emperor/templates/emperor/etc/systemd/system/uwsgi@.service.j2')


def test_a_unit_asks_its_vassal_unless_the_watcher_has_just_told_it_to_forget_it(monkeypatch, tmp_path, forgotten):
    with open(TEMPLATE) as handle:
        found = re.search(r"^ExecStop=/bin/sh -c '(.*)' (\S+)/%n %i (\S+)/%n.begun$", handle.read().replace('\\\n', ''), re.MULTILINE)
    assert found.group(2) == '/run/uwsgi-vassals'
    # as systemd reads it
    script = found.group(1).replace('{{ __emperor_units }}', 'echo').replace('$$', '$').replace('%%', '%')
    path, begun = forgotten / 'uwsgi@a.service', tmp_path / 'uwsgi@a.service.begun'
    monkeypatch.setattr(_units, 'MARKS', str(tmp_path / 'marks'))

    def asks():
        said = subprocess.check_output(['/bin/sh', '-c', script, str(path), 'a', str(begun)])
        assert said in (b'', b'stop a\n')
        # who is killed before it has said so itself is made up for
        assert begun.exists() is bool(said)
        return bool(said)

    assert asks()
    _units.mark('a', True)
    _units.forget('a')
    assert [asks(), asks()] == [False, True] and not os.path.exists(_units.MARKS + '/uwsgi@a.service')
    _units.forget('a')
    os.utime(str(path), (path.stat().st_atime - 61, path.stat().st_mtime - 61))
    assert asks()
    # again, as it is there still
    _units.forget('a')
    assert not asks()
    _units.forget('a')
    _units.mark('a', True)
    assert asks()


def test_a_unit_whose_vassal_does_not_accept_requests_any_more_is_not_started_again(monkeypatch, tmp_path):
    unit = Unit(monkeypatch, tmp_path, 'stop')
    unit.fails['disabled'] = VassalError('no')
    unit.accepting = False
    assert _unit_verbs.run_verb('stop', 'a') == 1
    assert unit.did == ['disabled', 'cancel 5'] and not os.path.exists(_units.MARKS + '/uwsgi@a.service')


def test_what_is_asked_for_right_after_a_stop_that_failed_is_done(monkeypatch, tmp_path):
    unit = Unit(monkeypatch, tmp_path, 'restart', 'restart', None, 'stop', 'stop')
    unit.fails['restarted'] = VassalError('no')
    assert _unit_verbs.run_verb('stop', 'a') == 0
    assert unit.did == ['restarted', 'cancel 5', 'disabled']


def test_a_reload_right_after_a_stop_that_failed_is_called_off(monkeypatch, tmp_path):
    unit = Unit(monkeypatch, tmp_path, 'stop', 'stop', None, 'reload')
    unit.fails['disabled'] = VassalError('no')
    assert _unit_verbs.run_verb('stop', 'a') == 1
    assert unit.did == ['disabled', 'cancel 5', 'cancel 5', '-q start --no-block uwsgi@a.service']


@pytest.mark.parametrize('word, first', [('start', 'enabled'), ('reload', 'reloaded')])
@pytest.mark.parametrize('kind, then', [('stop', 'disabled'), ('restart', 'restarted')])
@pytest.mark.parametrize('when', ['before', 'meanwhile', 'at its end'])
def test_a_stop_that_cuts_off_what_its_unit_does_is_done(monkeypatch, tmp_path, word, first, kind, then, when):
    unit = Unit(monkeypatch, tmp_path, *([word] * (when != 'before') + [kind]))
    if when == 'meanwhile':
        unit.fails[first] = _unit_verbs.CutOff()
    assert _unit_verbs.run_verb(word, 'a') == 0
    assert unit.did == [first] * (when != 'before') + [then]


@pytest.mark.parametrize('word, first', [('start', 'enabled'), ('reload', 'reloaded')])
@pytest.mark.parametrize('kind, then', [('stop', 'disabled'), ('restart', 'restarted')])
def test_a_stop_that_comes_when_the_program_is_about_to_exit_is_done_after_it(monkeypatch, tmp_path, word, first, kind, then):
    """And one that the program has done already is not done again."""
    for kinds, did in ([word, word], [first, then]), ([word, kind, kind], [first, then]):
        unit = Unit(monkeypatch, tmp_path, *kinds)
        assert _unit_verbs.run_verb(word, 'a') == 0
        unit.kinds = [kind]
        assert _unit_verbs.run_verb('cut-off', 'a') == 0
        assert unit.did == did and not os.path.exists(_units.MARKS + '/uwsgi@a.service.begun')


@pytest.mark.parametrize('kinds', [[None], ['start'], ['uwsgi.service']])
def test_what_has_not_been_cut_off_is_left_alone(monkeypatch, tmp_path, kinds):
    unit = Unit(monkeypatch, tmp_path, *kinds)
    _units.begin_work('a')
    _units.mark('a', True)
    assert _unit_verbs.run_verb('cut-off', 'a') == 0
    assert unit.did == [] and _units.mark('a', False)


@pytest.mark.parametrize('word, state', [('start', 'enabled'), ('reload', 'reloaded')])
def test_a_start_that_fails_is_under_way_no_more(monkeypatch, tmp_path, word, state):
    unit = Unit(monkeypatch, tmp_path, None)
    unit.fails[state] = VassalError('no')
    with pytest.raises(VassalError):
        _unit_verbs.run_verb(word, 'a')
    assert not os.path.exists(_units.MARKS + '/uwsgi@a.service.begun')


def test_a_stop_that_becomes_one_while_its_unit_restarts_is_done(monkeypatch, tmp_path):
    unit = Unit(monkeypatch, tmp_path, 'restart', 'stop')
    assert _unit_verbs.run_verb('stop', 'a') == 0
    assert unit.did == ['restarted', 'disabled']


def test_with_its_emperor_a_start_just_ends(monkeypatch, tmp_path):
    unit = Unit(monkeypatch, tmp_path, 'start', 'uwsgi.service')
    unit.fails['enabled'] = _unit_verbs.CutOff()
    assert _unit_verbs.run_verb('start', 'a') == 0
    assert unit.did == ['enabled']
    unit.did[:] = []
    assert _unit_verbs.run_verb('stop', 'a') == 0
    assert unit.did == []


@pytest.mark.parametrize(
    'kind, noted, did',
    [('stop uwsgi.service', False, ['disabled']), ('stop uwsgi.service', True, []), ('stop shutdown.target', False, []), ('stop', True, ['disabled'])]
    + [('stop rescue.target', False, [])],
    ids=['by somebody', 'by the watcher', 'shutdown', 'the Emperor runs on', 'with all others'],
)
def test_who_stops_an_application_while_its_emperor_restarts_finds_it_disabled(monkeypatch, tmp_path, kind, noted, did):
    unit = Unit(monkeypatch, tmp_path, kind)
    _units.mark('a', True)
    if noted:
        # while a restart by somebody had begun to stop the unit
        _units._files.touch('%s/uwsgi@a.service' % _units.FORGOTTEN)
    assert _unit_verbs.run_verb('stop', 'a') == 0
    assert unit.did == did


def test_a_signal_that_means_nothing_changes_nothing(monkeypatch, tmp_path):
    unit = Unit(monkeypatch, tmp_path, None)
    unit.fails['enabled'] = _unit_verbs.CutOff()
    assert _unit_verbs.run_verb('start', 'a') == 0
    assert unit.did == ['enabled', 'enabled']


def test_what_is_done_is_left_between_two_steps_alone():
    told = _unit_verbs.Told()
    told(28, None)
    with pytest.raises(_unit_verbs.CutOff):
        told.sleep(0)
    told.sleep(0)


@pytest.mark.parametrize('directory, gone', [('/etc/uwsgi/apps-enabled', True), ('/etc. FIX: run this as root', False)], ids=['gone', 'its own words'])
def test_of_where_an_application_says_that_it_was_started_only_the_layouts_directories_are_told(monkeypatch, directory, gone):
    host = Host()
    host.available_dir = '/etc/uwsgi/apps-available'
    host.situations = lambda names, view: [Situation('a', pid=7, text=b'')]
    host.snapshot = lambda: None
    host.identity = lambda filename: (None, None)
    monkeypatch.setattr(_unit_verbs, 'Systemd', Host)
    monkeypatch.setattr(_unit_verbs._processes, 'started_in', lambda pid: directory)
    monkeypatch.setattr(_unit_verbs, 'settle_access', lambda situation, plan, identity: plan)
    if gone:
        with pytest.raises(VassalError, match='it runs by /etc/uwsgi/apps-enabled/a.ini, which is gone'):
            _unit_verbs.plan(host, 'a', 'reloaded')
    else:
        assert _unit_verbs.plan(host, 'a', 'reloaded').plan.mode == 'reload'


@pytest.mark.parametrize('call', ['', 'begin', 'start', 'start a b', 'watch a', 'why', 'renew', 'hand-over', 'hand-over me', '--help'])
def test_a_wrong_call_of_the_program_says_how_it_is_called(monkeypatch, capsys, call):
    for name in 'watch', 'wait_for_starts', 'explain_exit', 'renew_socket', 'run_verb', 'hand_over':
        monkeypatch.setattr(_unit_verbs, name, lambda *dummy: pytest.fail('it was called'))
    assert _unit_verbs.main(call.split()) == 2
    assert capsys.readouterr()[1].startswith('usage: vassal-units watch')


@pytest.mark.parametrize('call', ['watch', 'calm', 'why a', 'renew a', 'reload a', 'cut-off a', 'hand-over emperor', 'hand-over systemd x.service -- a b'])
def test_a_call_of_the_program_is_passed_on(monkeypatch, call):
    called = []
    monkeypatch.setattr(_unit_verbs.os, 'geteuid', lambda: 0)
    monkeypatch.setattr(_unit_verbs, 'watch', lambda: called.append(['watch']))
    monkeypatch.setattr(_unit_verbs, 'wait_for_starts', lambda: called.append(['calm']))
    monkeypatch.setattr(_unit_verbs, 'explain_exit', lambda instance: called.append(['why', instance]))
    monkeypatch.setattr(_unit_verbs, 'renew_socket', lambda instance: called.append(['renew', instance]))
    monkeypatch.setattr(_unit_verbs, 'run_verb', lambda word, instance: called.append([word, instance]))
    monkeypatch.setattr(_unit_verbs, 'hand_over', lambda who, units, names: called.append(['hand-over', who] + units + ['--'] * bool(names) + names))
    _unit_verbs.main(call.split())
    assert called == [call.split()]


@pytest.mark.parametrize('call', ['watch', 'calm', 'why a', 'renew a', 'stop a', 'hand-over emperor'])
def test_the_program_does_nothing_for_others_than_root(monkeypatch, capsys, call):
    monkeypatch.setattr(_unit_verbs.os, 'geteuid', lambda: 1000)
    for name in 'watch', 'wait_for_starts', 'explain_exit', 'renew_socket', 'run_verb', 'hand_over':
        monkeypatch.setattr(_unit_verbs, name, lambda *dummy: pytest.fail('it was called'))
    assert _unit_verbs.main(call.split()) == 1
    assert 'root is needed' in capsys.readouterr()[1]


@pytest.mark.parametrize('was, user, renewed', [('bob', 'bob', False), ('bob', 'alice', True), ('bob', 'root', True), ('bob', None, True)])
def test_the_socket_of_another_user_is_opened_again(monkeypatch, tmp_path, capsys, was, user, renewed):
    """The unit that calls it is ended by that: where it is not, systemd did nothing."""
    asked, moved = [], []
    host = Host()
    host.enabled = lambda: {'a': 'a.ini'}
    host.user = lambda filename: user
    host.move_log = lambda *what: moved.append(what)
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / was).write_bytes(b'')
    os.utime(str(tmp_path / 'a' / was), (0, 0))
    monkeypatch.setattr(_unit_verbs.os, 'geteuid', lambda: 0)
    monkeypatch.setattr(_unit_verbs._files, 'USER_DIRS', str(tmp_path))
    monkeypatch.setattr(_unit_verbs._files, 'Files', lambda available_dir, enabled_dir: host)
    monkeypatch.setattr(_unit_verbs, 'Systemd', lambda run_command, unit, files, defaults: host)
    monkeypatch.setattr(_unit_verbs, 'Host', lambda supervisor: supervisor)
    monkeypatch.setattr(_units, 'run_command', lambda argv: (asked.append(argv), (1, '', 'Access denied'))[1])
    assert _unit_verbs.main(['renew', 'a']) == int(renewed)
    assert asked == [['systemctl', 'restart', 'uwsgi@a.socket']] * renewed and moved == [('a.ini', was)] * bool(renewed and user)
    out, err = capsys.readouterr()
    said = 'It ran as bob, and %s' % ('is to run as %s:' % user if user else 'it can not be told')
    assert (said in out, 'Access denied' in err) == (renewed, renewed)
    # where it stays, the next start asks no more
    assert (os.stat(str(tmp_path / 'a' / was)).st_mtime > 0) is not renewed


@pytest.mark.parametrize('accepts, code', [(True, 0), (False, 1)])
def test_a_restart_that_comes_to_nothing_fails_for_who_asked_and_its_unit_is_what_its_vassal_is(monkeypatch, tmp_path, accepts, code, capsys):
    unit = Unit(monkeypatch, tmp_path, 'start', 'start', None)
    unit.fails['enabled'] = VassalError('it has not loaded its application')
    unit.accepting = accepts
    _units.note_restart('a', 10, 20)
    if code:
        with pytest.raises(VassalError):
            _unit_verbs.run_verb('start', 'a')
    else:
        assert _unit_verbs.run_verb('start', 'a') == 0 and 'has not loaded' in capsys.readouterr()[1]
    assert unit.did == ['enabled'] + ['cancel 5'] * accepts and _units.mark('a', False) is accepts
    # of a start that is none of a restart, systemd has all it needs
    unit.accepting = True
    unit.kinds = ['start']
    with pytest.raises(VassalError):
        _unit_verbs.run_verb('start', 'a')
    assert unit.did[-1] == 'enabled'
