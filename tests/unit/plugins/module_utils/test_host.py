# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import stat
import time

import pytest
from ansible.module_utils.common.text.converters import to_native, to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _host, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import Emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import Files
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import Host
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import Snapshot, TimedOut
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import Situation, VassalError

JOURNAL = [
    '[uWSGI] getting INI configuration from a.ini',
    'failed to open python file /srv/nowhere.py',
    'unable to load app 0',
    '[uWSGI] getting INI configuration from a.ini',
    'clock source: unix',
]


def make_host(run_command=lambda argv: (0, '', ''), directory='/nonexistent'):
    """A host of an Emperor that was not looked for."""
    return Host(Emperor(run_command, 'uwsgi.service', Files(directory + '/available', directory + '/enabled'), '/nonexistent'))


def test_the_journal_tells_of_the_last_start_that_says_why():
    """The Emperor may have begun to start it again when the journal is read."""
    host = make_host(lambda argv: (0, '\n'.join(JOURNAL[::-1]), ''))
    host.identity = lambda filename: (None, None)
    host.log_lines = lambda filename, offset=0: ('/var/log/uwsgi/a.log', [])
    assert host.explain_failure('a.ini', 0) == ('journalctl -u uwsgi.service', JOURNAL[:3], 'unable to load app 0')


def test_a_log_is_judged_by_whole_lines_and_quoted_by_short_ones():
    host = make_host()
    host.log_lines = lambda filename, offset=0: ('/var/log/uwsgi/a.log', ['open("/%s"): No such file or directory' % ('x' * 600), 'y' * 600])
    where, lines, reason = host.explain_failure('a.ini', 0)
    assert where == '/var/log/uwsgi/a.log' and reason.startswith('open("/xxx') and [len(line) < 540 for line in lines + [reason]] == [True] * 3


def test_what_became_of_a_vassal_is_told_though_the_journal_does_not_answer():
    def hangs(argv):
        raise TimedOut('journalctl did not end')

    host = make_host(hangs)
    host.identity = lambda filename: (None, None)
    host.log_lines = lambda filename, offset=0: ('/var/log/uwsgi/a.log', ['all is well'])
    assert host.explain_failure('a.ini', 0) == ('/var/log/uwsgi/a.log', ['all is well'], None)


def teller(tmp_path, lines, age):
    """A host with a log of so many seconds, and nothing in the journal."""
    log = tmp_path / 'a.log'
    log.write_bytes(''.join(line + '\n' for line in lines).encode('utf-8'))
    os.utime(str(log), (time.time() - age,) * 2)
    result = make_host()
    result.supervisor.pid = os.getpid()
    result.identity = lambda filename: (None, None)
    result.log_path = lambda filename: str(log)
    return result


def test_of_an_older_failure_only_what_is_dying_already_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(_processes, 'age', lambda pid: 100000)
    lines = ['*** Starting uWSGI 2.0.28 (64bit) on [%s] ***' % time.ctime(time.time() - 10), 'RuntimeError: old']
    host, size = teller(tmp_path, lines, 8), len(lines[0]) + len(lines[1]) + 2
    now = time.time()
    assert host.explain_failure('a.ini', now, size)[1:] == ([], None)
    assert host.explain_failure('a.ini', now, size, dying=True)[2] == 'RuntimeError: old'
    # an older one still, before a start that went well; and one after which the Emperor would have started it again
    assert host.explain_failure('a.ini', now + 300, size, dying=True)[2] is None
    lines[:0] = ['*** Starting uWSGI 2.0.28 (64bit) on [%s] ***' % time.ctime(time.time() - 1000), 'RuntimeError: older']
    lines[-1] = 'all is well'
    assert teller(tmp_path, lines, 8).explain_failure('a.ini', now, sum(map(len, lines)) + len(lines), dying=True)[2] is None
    monkeypatch.setattr(_processes, 'age', lambda pid: 5)
    assert host.explain_failure('a.ini', now, size, dying=True)[2] is None


def test_without_an_offset_what_was_written_since_is_told(tmp_path):
    lines = ['*** Starting uWSGI 2.0.28 (64bit) on [%s] ***' % time.ctime(time.time() - age) for age in (100, 10)]
    lines.insert(1, 'RuntimeError: old')
    host = teller(tmp_path, lines, 0)
    assert host.explain_failure('a.ini', time.time() - 200, None)[2] == 'RuntimeError: old'
    assert host.explain_failure('a.ini', time.time() - 50, None)[1:] == (lines[2:], None)
    # the new start has not opened its log
    assert host.explain_failure('a.ini', time.time() + 50, None)[1:] == ([], None)


def test_what_the_journal_says_is_shown_as_data(tmp_path):
    host = teller(tmp_path, [], 0)
    # the last line comes first
    said = 'RuntimeError: \x1b[31m' + to_native(b'\xff', errors='surrogate_or_replace') + '\rx\n' + JOURNAL[0] + '\n'
    host.supervisor.run_command = lambda argv: (0, said, '')
    assert host.explain_failure('a.ini', time.time())[2] == 'RuntimeError: \\x1b[31m\\xff\\x0dx'


def test_of_the_journal_only_what_root_and_the_applications_user_said_counts(tmp_path):
    host = teller(tmp_path, [], 0)
    host.identity = lambda filename: (1000, 1000)
    asked = []
    host.supervisor.run_command = lambda argv: asked.append(argv) or (0, '', '')
    host.explain_failure('a.ini', time.time())
    assert asked[0][-4:] == ['-u', 'uwsgi.service', '_UID=0', '_UID=1000']


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host of an Emperor that does not run."""
    monkeypatch.setattr(_files, 'STAGE', str(tmp_path / 'stage.'))
    (tmp_path / 'available').mkdir()
    return make_host(directory=str(tmp_path))


def access(path):
    found = os.stat(str(path))
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def test_a_file_is_closed_to_others_before_it_has_its_text_and_its_name(host, tmp_path, monkeypatch):
    own = os.getuid(), os.getgid()
    seen = []
    monkeypatch.setattr(os, 'fchown', lambda descriptor, *ids: seen.append((stat.S_IMODE(os.fstat(descriptor).st_mode), ids)))
    monkeypatch.setattr(os, 'rename', lambda old, new: seen.append(access(old)[0]) or os.link(old, new) or os.unlink(old))
    host.write('a.ini', b'[uwsgi]\n', 1, (0o640,) + own)
    assert seen == [(0o600, own), 0o640]
    assert access(tmp_path / 'available' / 'a.ini') == (0o640,) + own
    assert os.listdir(str(tmp_path / 'available')) == ['a.ini']


def test_without_word_of_its_access_a_file_keeps_it_and_a_new_one_is_for_root(host, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, 'fchown', lambda descriptor, *ids: seen.append(ids))
    monkeypatch.setattr(os, 'fchmod', lambda descriptor, mode: seen.append(mode))
    host.write('a.ini', b'[uwsgi]\n', 1)
    assert seen == [(0, 0), 0o640]
    (tmp_path / 'available' / 'a.ini').chmod(0o604)
    host.write('a.ini', b'[uwsgi]\n', 1)
    assert seen[2:] == [(os.getuid(), os.getgid()), 0o604]


def test_access_that_changes_is_never_wider_than_before_and_after(host, tmp_path, monkeypatch):
    path = tmp_path / 'a.ini'
    path.write_text(to_text(''))
    path.chmod(0o660)
    modes = []
    monkeypatch.setattr(os, 'fchown', lambda descriptor, *ids: modes.append(access(path)[0]))
    _files.set_access(str(path), (0o644, os.getuid(), os.getgid()))
    assert modes == [0o640] and access(path)[0] == 0o644


def test_the_environment_is_written_hidden_and_removed(host, tmp_path, monkeypatch):
    own = os.getuid(), os.getgid()
    monkeypatch.setattr(os, 'fchown', lambda descriptor, *ids: None)
    monkeypatch.setattr(_files, 'STATE_DIR', str(tmp_path / 'state'))
    host.files.env_dir = str(tmp_path / 'apps-env')
    for text in b'[uwsgi]\nenv = A=previous-value\n', b'[uwsgi]\nenv = A=other-value\n':
        host.files.write_env('a.yml', text, (0o640,) + own)
        assert (tmp_path / 'apps-env' / 'a.ini').read_bytes() == text
    assert access(tmp_path / 'apps-env')[0] == 0o755 and access(tmp_path / 'apps-env' / 'a.ini')[0] == 0o640
    assert host.hide('a.yml', ['other-value and previous-value']) == ['******** and ********']
    assert access(tmp_path / 'state' / 'env')[0] == 0o700 and access(tmp_path / 'state' / 'env' / 'a.ini')[0] == 0o600
    host.files.write_env('a.yml', None)
    assert not (tmp_path / 'apps-env' / 'a.ini').exists()
    # what is gone may stand in the log still
    assert host.hide('a.yml', ['other-value']) == ['********']
    host.files.write_env('a.yml', to_text('[uwsgi]\nenv = A=red \x1b[31m value\n').encode('utf-8'), (0o640,) + own)
    assert host.hide('a.yml', ['it is red \\x1b[31m value']) == ['it is ********']


def test_defaults_that_lack_the_lines_are_named_with_them(host, tmp_path):
    host.supervisor.defaults = str(tmp_path / 'defaults.ini')
    (tmp_path / 'defaults.ini').write_text(to_text('[uwsgi]\n'))
    with pytest.raises(VassalError) as error:
        host.check_env('a')
    lines = str(error.value).splitlines()
    assert host.supervisor.defaults in lines[0]
    (tmp_path / 'defaults.ini').write_text(to_text('\n'.join(['[uwsgi]'] + lines[1:])))
    host.check_env('a')


@pytest.mark.parametrize('there', [None, 'nobody reads it', 'another reads it'])
def test_a_fifo_that_its_master_is_about_to_make_is_waited_for(host, monkeypatch, tmp_path, there):
    path = str(tmp_path / 'a.fifo')
    reading = []
    monkeypatch.setattr(host.configurations, 'options', lambda filename: {'master-fifo': path})
    monkeypatch.setattr(_processes, 'holds', lambda pid, found: any(os.path.samestat(os.fstat(one), found) for one in reading[1:]))
    if there:
        os.mkfifo(path)
    reading.append(os.open(path if there == 'another reads it' else os.devnull, os.O_RDONLY | os.O_NONBLOCK))

    def made(dummy):
        if there:
            os.unlink(path)
        os.mkfifo(path)
        reading.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))

    monkeypatch.setattr(_host.time, 'sleep', made)
    host.tell_fifo('a.ini', 7, b'c')
    assert os.read(reading[1], 9) == b'c'
    for one in reading:
        os.close(one)


@pytest.mark.parametrize('file', [False, True], ids=['none', 'a file'])
def test_what_is_no_fifo_of_its_is_told_after_a_moment(host, monkeypatch, tmp_path, file):
    path = tmp_path / 'a.fifo'
    monkeypatch.setattr(host.configurations, 'options', lambda filename: {'master-fifo': str(path)})
    if file:
        path.write_text(u'')
    with pytest.raises(VassalError) as error:
        host.tell_fifo('a.ini', 7, b'c')
    assert str(path) in str(error.value) and 'restart it' in str(error.value)
    assert not file or path.read_text() == u''


def test_a_process_that_has_just_ended_runs_no_previous_file(monkeypatch):
    """A vassal that keeps dying may do so between two looks."""
    noted = []
    host = make_host()
    monkeypatch.setattr(host.files, 'note', lambda *arguments: noted.append(arguments))
    monkeypatch.setattr(_processes, 'process', {1: (0, 77)}.get)
    host.note_change('a.ini', 'restart', [1, 2])
    assert noted == [('a.ini', 'restart', [(1, 77)])]


def test_a_file_that_has_changed_since_its_master_started_is_seen_by_the_time_that_nobody_sets(tmp_path):
    path = tmp_path / 'a.ini'
    path.write_text(u'')
    os.utime(str(path), (0, 0))
    assert Host.changed_since_start(Situation('a', text=b'', pid=os.getpid(), path=str(path)))
    assert not Host.changed_since_start(Situation('a', text=b'', path=str(path)))
    assert not Host.changed_since_start(Situation('a', text=b'', pid=os.getpid(), path=os.__file__))
    assert not Host.changed_since_start(Situation('a', text=b'', pid=os.getpid(), path=str(tmp_path / 'none')))


@pytest.mark.parametrize('enabled, shared, link', [(u'same', False, 'copy'), (u'other', False, 'file'), (u'same', True, 'file')])
def test_a_file_that_equals_the_available_one_is_a_copy(tmp_path, enabled, shared, link):
    host = make_host(directory=str(tmp_path))
    host.identity = lambda filename: (None, None)
    (tmp_path / 'available').mkdir()
    (tmp_path / 'enabled').symlink_to('available') if shared else (tmp_path / 'enabled').mkdir()
    host.files.shared = shared
    for directory, text in ('available', u'same'), ('enabled', enabled):
        (tmp_path / directory / 'a.ini').write_text(text)
    view = Snapshot({}, None, {})
    assert host.situations(['a'], view)[0].link == link


def test_an_application_without_workers_is_as_old_as_its_master(tmp_path, monkeypatch):
    ages, (path, code) = {70: 100}, [tmp_path / name for name in ('a.ini', 'a.py')]
    monkeypatch.setattr(_files, 'STATE_DIR', str(tmp_path / 'state'))
    monkeypatch.setattr(_processes, 'age', ages.get)
    # it ends between two looks
    monkeypatch.setattr(_processes, 'life', lambda pid: (70, 5, 0))
    host = make_host(directory=str(tmp_path))
    host.identity = lambda filename: (None, None)
    host.configurations.options = lambda filename: {}
    situation = Situation('a', '.ini', b'', pid=70, path=str(path), mtime=0, credentials=(5, [60]))
    for one, age in (path, 200), (code, 150):
        one.write_text(u'')
        os.utime(str(one), (time.time() - age,) * 2)
    assert not host.is_stale(situation, [str(code)])
    os.utime(str(code), (time.time() - 50,) * 2)
    assert host.is_stale(situation, [str(code)])
    ages.clear()
    assert host.is_stale(situation) and host._loaded(situation) == []
    assert host.is_stale(Situation('a', '.ini', b'', path=str(path), mtime=0))


@pytest.mark.parametrize('options', [{}, {'lazy-apps': 'true'}], ids=['', 'lazy'])
@pytest.mark.parametrize('reloads', [1, -1])
def test_of_an_application_without_workers_that_somebody_reloaded_nobody_can_tell(tmp_path, monkeypatch, reloads, options):
    path, lives = tmp_path / 'a.ini', {70: (70, 5, reloads)}
    monkeypatch.setattr(_files, 'STATE_DIR', str(tmp_path / 'state'))
    monkeypatch.setattr(_processes, 'age', {70: 100}.get)
    monkeypatch.setattr(_processes, 'life', lives.get)
    host = make_host(directory=str(tmp_path))
    host.identity = lambda filename: (None, None)
    host.configurations.options = lambda filename: options
    situation = Situation('a', '.ini', b'', pid=70, path=str(path), mtime=0, credentials=(5, [60]))
    path.write_text(u'')
    assert host.is_stale(situation) is None
    # what the module has reloaded, which nothing but its note tells
    host.note_loaded(situation, 30)
    os.utime(str(path), (time.time() - 50,) * 2)
    assert host.is_stale(situation) is False
    # what changed while the module was busy with others
    os.utime(str(path), (time.time() - 20,) * 2)
    assert host.is_stale(situation) is True
    lives[70] = (70, 5, 2)
    assert host.is_stale(situation) is None
    # what is older than its master it has loaded, however often
    os.utime(str(path), (time.time() - 200,) * 2)
    assert host.is_stale(situation) is False


def test_workers_that_a_master_makes_anew_make_nothing_that_it_has_loaded_newer(tmp_path, monkeypatch):
    now, lives, ages = time.time(), {70: (70, 5, 0)}, {70: 100, 71: 10, 72: 20}
    monkeypatch.setattr(_files, 'STATE_DIR', str(tmp_path / 'state'))
    monkeypatch.setattr(_processes, 'age', ages.get)
    monkeypatch.setattr(_processes, 'life', lives.get)
    host = make_host(directory=str(tmp_path))
    host.identity = lambda filename: (None, None)
    options = {}
    host.configurations.options = lambda filename: options
    situation = Situation('a', '.ini', b'', pid=70, workers=[71, 72], path=str(tmp_path / 'a.ini'), mtime=0, credentials=(5, [60]))
    code = tmp_path / 'a.py'
    code.write_text(u'')

    def stale(age):
        os.utime(str(code), (now - age, now - age))
        return host.is_stale(situation, [str(code)])

    # newer than the master, older than all workers
    assert stale(50) and not stale(150)
    # nobody has noted when that reload was
    lives[70] = (70, 5, 1)
    assert not stale(50) and stale(15)
    ages[72] = 40
    host.note_loaded(situation, 1)
    ages[72] = 1
    assert stale(30) and not stale(50)
    # where the number of reloads can't be read, what a run has noted counts
    lives[70] = (70, 6, -1)
    assert not stale(30)
    host.note_loaded(situation, 1)
    ages[72] = 0.5
    assert stale(0.8) and not stale(30)
    # workers that load it themselves
    options['lazy-apps'] = 'true'
    assert not stale(30) and stale(5)
    assert host.files.loaded('b.ini') == (None, None, None)


def test_a_log_does_not_outlive_its_user_in_the_meantime_either(tmp_path, monkeypatch):
    """Between its removal and another application of the name, which may be started by a boot and by hand."""
    for module, name in (_files, 'STATE_DIR'), (_files, 'RUN_DIR'), (_files, 'OWN_DIRS'):
        monkeypatch.setattr(module, name, str(tmp_path / name))
    monkeypatch.setattr(_host, 'alterable', lambda path: None)
    host = make_host(directory=str(tmp_path))
    host.identity = lambda filename: (33, 33)
    host.log_path = lambda filename: str(tmp_path / 'a.log')
    host.note_user(Situation('a', '.ini', b'', pid=70, credentials=(5, [5])))
    host.files.delete_all('a.ini')
    (tmp_path / 'a.log').write_text(u'')
    host.leave_log(Situation('a', '.ini'))
    assert [path.name for path in tmp_path.glob('a.log*')] == ['a.log.games']


@pytest.mark.parametrize(
    'runs, noted, uid, moved',
    [(5, None, 33, True), (None, 5, 33, True), (5, 33, 5, False), (None, None, 33, False), (0, None, 33, False), (5, None, None, False)],
)
def test_a_log_does_not_outlive_its_user(tmp_path, monkeypatch, runs, noted, uid, moved):
    monkeypatch.setattr(_files, 'STATE_DIR', str(tmp_path / 'state'))
    monkeypatch.setattr(_host, 'alterable', lambda path: None)
    host = make_host(directory=str(tmp_path))
    host.identity = lambda filename: (uid, uid)
    host.log_path = lambda filename: str(tmp_path / 'a.log')
    if noted:
        host.files.note_loaded('a.ini', (70, 5, 0), noted, 1.5)
    situation = Situation('a', '.ini', b'', credentials=None if runs is None else (runs, [runs]))
    host.leave_log(situation)
    (tmp_path / 'a.log').write_text(u'')
    host.leave_log(situation)
    assert [path.name for path in tmp_path.glob('a.log*')] == (['a.log.games'] if moved else ['a.log'])
    if moved:
        monkeypatch.setattr(_host, 'alterable', lambda path: ('/srv', 'it belongs to user 5'))
        (tmp_path / 'a.log').write_text(u'')
        host.leave_log(situation)
        assert (tmp_path / 'a.log').exists()


def test_the_variables_that_a_vassal_is_about_to_get_are_looked_at():
    host = make_host()
    host.configurations.exposed = lambda filename, text, env: (list(env), [text])
    assert host.exposed('a.ini', b'x', b'[uwsgi]\nenv = PATH=/srv/games:/bin\n') == (['PATH=/srv/games:/bin'], [b'x'])
    assert host.exposed('a.ini') == ([], [None])
