# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes


@pytest.fixture
def child():
    """The PID of a child of ours, and of one that has ended and was not waited for."""
    running, ended = [subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE) for code in ('input()', '')]
    while _processes.process(ended.pid):
        pass
    yield running, ended
    for one in running, ended:
        one.stdin.close()
        one.wait()


def test_a_child_lives_until_it_has_ended_though_nobody_has_waited_for_it(child):
    running, ended = child
    assert _processes.process(running.pid)[0] == os.getpid()
    assert running.pid in _processes.children(os.getpid()) and ended.pid not in _processes.children(os.getpid())
    assert _processes.arguments(running.pid)[1:] == ['-c', 'input()'] and 0 <= _processes.age(running.pid) < 1000
    assert _processes.resident(running.pid) > 0 and _processes.owner(running.pid) == os.geteuid()
    assert _processes.age(ended.pid) is None
    assert _processes.state(running.pid) in (b'S', b'R') and _processes.state(ended.pid) == b'Z' and _processes.state(2 ** 22 + 1) == b''
    assert _processes.family(running.pid) == set([running.pid]) and running.pid in _processes.family(os.getpid())


@pytest.mark.parametrize(
    'code, counts',
    [('', True), ('os.setsid()', False), ('signal.signal(signal.SIGTSTP, signal.SIG_IGN)', False), ('signal.signal(signal.SIGTSTP, print)', True)],
    ids=['a worker that loads', 'a daemon', 'a mule', 'a worker'],
)
@pytest.mark.parametrize('ignored', [False, True], ids=['', 'the master ignores it, too'])
def test_only_workers_count_as_workers(code, counts, ignored):
    code = 'from __future__ import print_function; import os, signal; %s; os.write(1, b"x"); os.read(0, 1)' % (code or 'pass')
    previous = signal.signal(signal.SIGTSTP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        running = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert running.stdout.read(1) == b'x'
        assert (running.pid in _processes.workers(os.getpid())) is (counts or ignored and 'setsid' not in code)
        assert running.pid in _processes.children(os.getpid())
        running.communicate()
        assert running.pid not in _processes.workers(os.getpid())
    finally:
        signal.signal(signal.SIGTSTP, previous)


def test_a_process_lives_as_long_as_one_of_its_threads():
    code = (
        'import ctypes, os, threading; thread = threading.Thread(target=os.read, args=(0, 1)); thread.start(); os.write(1, b"x"); '
        'ctypes.CDLL(None).pthread_exit(None)'
    )
    running = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert running.stdout.read(1) == b'x'
        while _processes.state(running.pid) != b'Z':
            pass
        assert _processes.process(running.pid)[0] == os.getpid()
    finally:
        running.kill()
    while _processes.process(running.pid):
        pass
    running.communicate()


def test_a_process_of_which_all_threads_have_ended_is_dead_whoever_traces_them(monkeypatch):
    told = {'/proc/7/stat': b'7 (x y) Z 1 ', '/proc/7/task/7/stat': b'7 (x y) Z 1 ', '/proc/7/task/8/stat': b'8 (x) Z 1 '}
    monkeypatch.setattr(_processes, '_threads', lambda pid: ['7', '8', '9'])
    monkeypatch.setattr(_processes, 'read', lambda path: (told[path] + b'0 ' * 40) if path in told else None)
    assert _processes.process(7) is None
    told['/proc/7/task/8/stat'] = b'8 (x) S 1 '
    assert _processes.process(7) == (1, 0)


def test_who_keeps_others_from_looking_into_its_memory_does_so_once(monkeypatch, child):
    running, begun, waits, asked = child[0], threading.Event(), threading.Event(), []

    def read_late(path, limit=0):
        asked.append(path)
        begun.set()
        waits.wait(60)
        return b'x\0'

    reads = _processes.read
    monkeypatch.setattr(_processes, 'MEMORY_TIMEOUT', 0.1)
    monkeypatch.setattr(_processes, '_WAITING', {})
    monkeypatch.setattr(_processes, 'credentials', lambda pid: (0 if pid == os.getpid() else 5, []))
    monkeypatch.setattr(_processes, 'read', lambda path, *limit: (read_late if path.endswith(('/cmdline', '/environ')) else reads)(path, *limit))
    try:
        assert _processes.command_line(running.pid) == b'' and begun.wait(60) and asked == ['/proc/%d/cmdline' % running.pid]
        assert _processes.life(running.pid)[2] == -1 and _processes.started_in(running.pid) == '.' and _processes.arguments(running.pid) == []
        assert len(asked) == 1
    finally:
        waits.set()
    # it lets go, and root's own is not bounded
    for reader in _processes._WAITING.values():
        reader.join(60)
    assert _processes.command_line(running.pid) == _processes.command_line(os.getpid()) == b'x\0'

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, 'start', refuse)
    assert _processes.command_line(running.pid) == b''


@pytest.mark.parametrize('kind', ['fifo', 'link', 'directory', 'none'])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / 'a.ini'
    if kind == 'directory':
        path.mkdir()
    elif kind != 'none':
        os.mkfifo(str(tmp_path / 'fifo'))
        path.symlink_to('fifo')
    assert _processes.read(str(tmp_path / 'fifo' if kind == 'fifo' else path)) is None
    (tmp_path / 'b.ini').write_bytes(b'x' * 9)
    assert _processes.read(str(tmp_path / 'b.ini'), 5) == b'x' * 5 and _processes.read('/proc/self/stat')


def test_who_is_gone_is_signalled_in_vain(child):
    running, dummy = child
    _processes.kill(running.pid, signal.SIGKILL)
    running.wait()
    _processes.kill(running.pid, 0)


def test_a_process_holds_the_files_that_it_has_open(tmp_path):
    found = os.stat(str(tmp_path))
    assert not _processes.holds(os.getpid(), found)
    descriptor = os.open(str(tmp_path), os.O_RDONLY)
    try:
        assert _processes.holds(os.getpid(), found)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize('call', ['listdir', 'stat'], ids=['the directory', 'its entries'])
def test_of_a_process_whose_files_are_hidden_its_user_tells(monkeypatch, tmp_path, call):
    ours, foreign, pid = os.stat(str(tmp_path)), os.stat('/proc/1'), os.getpid()
    found = getattr(os, call)

    def hides(path, **options):
        # without CAP_SYS_PTRACE root may list the files of another user's process, and look at none
        if '/fd' in str(path):
            raise OSError(errno.EACCES, 'Permission denied', path)
        return found(path, **options)

    monkeypatch.setattr(_processes.os, call, hides)
    assert _processes.holds(pid, ours)
    assert not _processes.holds(pid, type('Foreign', (), dict(st_uid=ours.st_uid + 1, st_ino=foreign.st_ino, st_dev=foreign.st_dev))())


def test_the_groups_of_a_process_are_known():
    uid, groups = _processes.credentials(os.getpid())
    assert (uid, groups[0]) == (os.geteuid(), os.getegid())
    assert set(os.getgroups()) <= set(groups)


def test_commands_that_run_at_once_are_told_apart(tmp_path):
    commands = [(['sh', '-c', 'pwd; echo %d >&2; exit %d' % (number, number)], str(tmp_path)) for number in range(9)]
    assert _processes.run_all(commands) == [(number, '%s\n' % tmp_path, '%d\n' % number) for number in range(9)]


def test_a_command_that_says_more_than_a_pipe_holds_ends(tmp_path):
    talkative = ['sh', '-c', 'head -c 300000 /dev/zero | tr "\\0" x; echo end >&2']
    assert [len(out) for dummy, out, dummy in _processes.run_all([(talkative, '/')] * 4)] == [300000] * 4


@pytest.mark.parametrize(
    'text, wanted',
    [
        (b'0::/system.slice/system-uwsgi.slice/uwsgi@a.service\n', True),
        (b'4:pids:/other\n1:name=systemd:/system.slice/system-uwsgi.slice/uwsgi@a.service/inner\n', True),
        (b'0::/system.slice/ssh.service\n', False),
        (b'0::/system.slice/uwsgi@a.service.d\n', False),
        (b'0::/user.slice/x-uwsgi@a.service\n', False),
        (None, False),
    ],
)
def test_a_process_is_in_the_unit_whose_control_group_it_has(monkeypatch, text, wanted):
    monkeypatch.setattr(_processes, 'read', lambda path: text if path.endswith('/cgroup') else None)
    assert _processes.in_unit(7, 'uwsgi@a.service') is wanted


def test_where_a_first_thread_has_ended_another_one_tells_the_unit(monkeypatch):
    told = {'/proc/7/cgroup': b'1:name=systemd:/\n', '/proc/7/task/9/cgroup': b'1:name=systemd:/x.slice/uwsgi@a.service\n'}
    monkeypatch.setattr(_processes, 'read', told.get)
    monkeypatch.setattr(_processes, '_threads', lambda pid: ['7', '9'])
    monkeypatch.setattr(_processes, 'state', lambda pid: b'Z')
    assert _processes.in_unit(7, 'uwsgi@a.service') and not _processes.in_unit(7, 'uwsgi@b.service')
    monkeypatch.setattr(_processes, 'state', lambda pid: b'S')
    assert not _processes.in_unit(7, 'uwsgi@a.service')


@pytest.mark.parametrize('environ, count', [(b'A=1\0UWSGI_RELOADS=3\0', 4), (b'A=1\0', 0), (None, -1), (b'UWSGI_RELOADS=' + b'9' * 5000, 0)])
def test_the_reloads_of_a_master_are_counted_where_root_may_see_them(monkeypatch, environ, count):
    monkeypatch.setattr(_processes, 'process', lambda pid: (1, 77) if pid == 70 else None)
    monkeypatch.setattr(_processes, 'read', lambda path, limit=0: environ if path.endswith('/environ') else None)
    assert _processes.life(70) == (70, 77, count) and _processes.life(71) is None


def test_a_setuid_program_is_of_who_has_started_it(monkeypatch):
    status = b'Name:\tsu\nUid:\t5\t0\t0\t0\nGid:\t60\t0\t0\t0\nGroups:\t60 100\n'
    monkeypatch.setattr(_processes, 'read', lambda path: status)
    assert _processes.credentials(70) == (5, [60, 60, 100])
