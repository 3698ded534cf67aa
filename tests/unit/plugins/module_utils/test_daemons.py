# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import subprocess

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _daemons
from ansible_collections.uwsgi.emperor.plugins.module_utils._daemons import inodes, is_daemon

SERVICE = '/machine.slice/guest/system.slice/uwsgi.service'


@pytest.fixture
def log(tmp_path):
    path = tmp_path / 'one.log'
    path.write_bytes(b'')
    return str(path)


@pytest.fixture
def directory(tmp_path):
    """A process's in /proc, with the files that this one has open."""

    def make(comm='uwsgi', cgroup=SERVICE, files='/proc/self/fd'):
        (tmp_path / 'comm').write_bytes(comm.encode('ascii') + b'\n')
        (tmp_path / 'cgroup').write_bytes(('4:pids:/other\n1:name=systemd:%s\n' % cgroup).encode('ascii'))
        if files:
            (tmp_path / 'fd').symlink_to(files)
        return str(tmp_path)

    return make


def test_a_process_of_the_init_scripts_service_is_a_daemon_whatever_may_be_seen_of_its_files(directory, log):
    assert is_daemon(directory(files=None), inodes([log]), SERVICE)


@pytest.mark.parametrize('cgroup', ['/other', SERVICE + 's', '/user.slice' + SERVICE, '/system.slice/uwsgi.service', ''])
@pytest.mark.parametrize('group', [SERVICE, ''], ids=['script', 'emperor'])
def test_a_process_elsewhere_is_no_daemon_for_its_name(directory, log, cgroup, group):
    assert not is_daemon(directory(cgroup=cgroup), inodes([log]), group)


def test_where_the_service_is_the_emperors_it_tells_nothing(directory, log):
    assert not is_daemon(directory(), inodes([log]), '')


def test_the_name_of_a_log_that_is_no_text_here_is_no_log(directory, monkeypatch, writing, log):
    # a host whose locale has no such character
    stat = os.stat

    def ascii_alone(path):
        return stat(path if isinstance(path, bytes) else path.encode('ascii').decode('ascii'))

    found = directory(cgroup='/user.slice', files=writing(log, os.O_RDWR))
    with monkeypatch.context() as patch:
        patch.setattr(os, 'stat', ascii_alone)
        assert not is_daemon(found, inodes([u'/var/log/uwsgi/app/\u20ac.log']), '')


@pytest.fixture
def writing():
    """The open files of a process whose standard output, or another file, is this."""
    started = []

    def start(log, flags, number=1):
        handle = os.open(log, flags)
        script = 'exec %d>&0 0< /dev/null; exec sleep 60' % number
        started.append(subprocess.Popen(['/bin/sh', '-c', script], stdin=handle, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        os.close(handle)
        while os.readlink('/proc/%d/exe' % started[-1].pid).rpartition('/')[2] not in ('sleep', 'coreutils'):
            pass
        return '/proc/%d/fd' % started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    'flags, number, wanted',
    [(os.O_WRONLY | os.O_APPEND, 1, True), (os.O_RDWR, 2, True), (os.O_RDONLY, 1, False), (os.O_RDWR, 3, False)],
    ids=['output', 'error', 'to read', 'another'],
)
def test_a_process_elsewhere_is_a_daemon_if_it_has_its_log_open_to_write(directory, log, writing, flags, number, wanted):
    found = directory(cgroup='/user.slice', files=writing(log, flags, number))
    assert is_daemon(found, inodes([log]), SERVICE) is wanted
    assert not is_daemon(found, inodes([log + '.1']), SERVICE)


@pytest.mark.skipif(not hasattr(os, 'O_PATH'), reason='Python 2.7 does not name it')
def test_a_log_that_may_not_be_opened_but_named_makes_no_daemon(directory, log, writing):
    os.chmod(log, 0)
    assert not is_daemon(directory(cgroup='/user.slice', files=writing(log, os.O_PATH)), inodes([log]), SERVICE)


def test_a_process_of_another_name_is_no_daemon(directory, log):
    assert not is_daemon(directory(comm='tail'), inodes([log]), SERVICE)


@pytest.mark.parametrize('name', ['zz: runs.\nPLAY RECAP', 'a\x1b[2J', 'a/b', ''])
def test_no_name_of_a_daemon_is_a_line_of_its_own(name):
    assert not _daemons.LOG.match('/var/log/uwsgi/app/%s.log' % name) and _daemons.LOG.match('/var/log/uwsgi/app/a b.log')


def test_who_gives_itself_a_thousand_logs_is_looked_at_once(monkeypatch):
    looked = []
    words = b'uwsgi\0' + b'--daemonize\0/var/log/uwsgi/app/a.log\0--x\0/y\0' * 1000
    monkeypatch.setattr(_daemons.os, 'listdir', lambda path: ['7'])
    monkeypatch.setattr(_daemons, 'entries', lambda path: [])
    monkeypatch.setattr(_daemons, 'inodes', list)
    monkeypatch.setattr(_daemons, 'process', lambda pid: (1, 1))
    monkeypatch.setattr(_daemons, 'command_line', lambda pid, limit: words)
    monkeypatch.setattr(_daemons, 'is_daemon', lambda directory, logs, group: looked.append(logs) or not logs)
    assert _daemons.find_daemons({}) == {} and looked == [[], ['/var/log/uwsgi/app/a.log']]


def test_the_command_line_of_a_stranger_is_not_read(monkeypatch, log, writing):
    """Whatever it is called, and whatever the link to its standard output says, which is a path in its own mounts."""
    own = writing(log, os.O_RDWR)
    monkeypatch.setattr(_daemons, 'is_named', lambda directory: directory == os.path.dirname(own))
    monkeypatch.setattr(_daemons, 'LOGS', os.path.dirname(log))
    asked = []
    monkeypatch.setattr(_daemons, 'command_line', lambda pid, limit: asked.append(pid) or b'')
    assert _daemons.find_daemons({}) == {} and asked == [int(own.split('/')[2])]
    os.rename(log, log + '.1')
    open(log, 'w').close()
    monkeypatch.setattr(_daemons, 'entries', lambda path: ['one.log'])
    assert _daemons.find_daemons({}) == {} and len(asked) == 1


@pytest.mark.parametrize('name, long, wanted', [('uwsgi', False, True), ('tail', False, False), ('uwsgi', True, False)], ids=['daemon', 'another', 'endless'])
def test_daemons_are_found_by_their_names_and_the_beginning_of_their_command_lines(monkeypatch, tmp_path, log, name, long, wanted):
    monkeypatch.setattr(_daemons, 'LOG', _daemons.re.compile(r'%s/([^/]+)\.log\Z' % tmp_path))
    monkeypatch.setattr(_daemons, 'LOGS', str(tmp_path))
    program = tmp_path / name
    program.write_bytes(b'#!/bin/sh\necho; read dummy')
    program.chmod(0o755)
    words = ['x' * 100000] * 2 if long else []
    with open(log, 'a') as handle:
        process = subprocess.Popen([str(program)] + words + ['--daemonize', log], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=handle)
    try:
        # it is itself by then
        process.stdout.readline()
        assert (process.pid in _daemons.find_daemons({})) is wanted
        assert not wanted or _daemons.masters(_daemons.find_daemons({})) == {'one': process.pid}
    finally:
        process.communicate(b'')
