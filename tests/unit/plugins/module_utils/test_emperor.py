# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import subprocess
import sys

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _emperor, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import Emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import Files
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import Snapshot
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError


def test_of_who_keeps_listening_only_the_sockets_own_user_is_named(tmp_path, monkeypatch):
    path = tmp_path / 'a.socket'
    path.write_text(u'')
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', str(tmp_path)), '/nowhere')
    emperor.pid = 70
    monkeypatch.setattr(_emperor, 'listener', lambda path: 71)
    monkeypatch.setattr(_emperor, 'holders', lambda path, pids: list(pids))
    monkeypatch.setattr(_processes.os, 'listdir', lambda path: ['1', '72', 'net'])
    monkeypatch.setattr(_processes, 'credentials', {1: (os.geteuid() + 1, [0]), 72: (os.geteuid(), [0])}.get)
    # a child of the Emperor is a vassal only where the Emperor says so: a vassal can make one
    monkeypatch.setattr(_processes, 'process', lambda pid: (70, 5))
    monkeypatch.setattr(emperor, 'snapshot', lambda wake: Snapshot({'b.ini': 71}, None, {}))
    (tmp_path / 'b.ini').write_text(u'[uwsgi]\nsocket = %s\n' % path)
    assert emperor.close_socket(str(path)) is None and path.exists()
    # nor what systemd has opened for Debian's own unit
    monkeypatch.setattr(_emperor, 'listener', lambda path: 1)
    assert emperor.close_socket(str(path)) is None and path.exists()
    # a vassal that was given the socket, and does not say so in its file
    monkeypatch.setattr(_emperor, 'listener', lambda path: 71)
    (tmp_path / 'b.ini').write_text(u'[uwsgi]\n')
    assert emperor.close_socket(str(path)).endswith('end it: process 72')
    assert not path.exists() and emperor.close_socket(str(path)) is None


@pytest.mark.parametrize('user, wanted', [(0, 71), (1000, None)], ids=['its own', 'what a vassal has made'])
def test_the_emperor_is_a_child_of_its_master_only_with_the_masters_user(tmp_path, monkeypatch, user, wanted):
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', str(tmp_path)), '/nowhere')
    monkeypatch.setattr(_processes, 'children', lambda pid: [71])
    monkeypatch.setattr(_processes, 'credentials', {70: (0, [0]), 71: (user, [user])}.get)
    monkeypatch.setattr(_processes, 'arguments', lambda pid, limit=0: ['/usr/bin/uwsgi-core'])
    monkeypatch.setattr(_emperor.os, 'readlink', {'/proc/70/cwd': '/', '/proc/71/cwd': str(tmp_path)}.get)
    monkeypatch.setattr(_emperor.os.path, 'realpath', lambda path: path)
    assert emperor._emperor_among(70)[0] == wanted


@pytest.mark.parametrize(
    'doing, wanted',
    [
        ('input()', False),
        ('os.fork() or os._exit(0); input()', True),
        ('os.fork() or input(); input()', True),
        ('os.fork() or os.execlp("sleep", "sleep", "60"); input()', False),
        ('[one for one in iter(int, 1)]', True),
    ],
    ids=['sleeps', 'has one to reap', 'has one that is nothing yet', 'has a vassal', 'is awake'],
)
def test_an_emperor_without_stats_may_start_a_vassal_again_until_it_sleeps_and_has_reaped(tmp_path, doing, wanted):
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', str(tmp_path)), '/nowhere')
    code = 'import os; input = os.sys.stdin.read; %s' % doing
    process = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, preexec_fn=os.setsid)
    try:
        emperor.pid = process.pid
        children = 'fork' in doing
        # from its start until it has come to what it does, it is awake
        while (
            _processes.state(process.pid) != (b'R' if wanted and not children else b'S')
            or children != bool(_processes.offspring(process.pid))
            or not wanted and any(emperor.disguised(pid) for pid in _processes.offspring(process.pid))
            or 'exit' in doing and _processes.children(process.pid)
        ):
            assert process.poll() is None
        assert emperor.leaves('a.ini', 0) == wanted
        assert not emperor.leaves('a.ini', _emperor.SETTLED), 'something else may keep it at work'
    finally:
        os.killpg(process.pid, 9)
        process.stdin.close()
        process.wait()


def test_an_emperor_leaves_what_its_stats_list(tmp_path, monkeypatch):
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', str(tmp_path)), '/nowhere')
    emperor.pid, emperor.stats_address = os.getpid(), '/nowhere'
    ended = subprocess.Popen(['true'])
    while _processes.process(ended.pid):
        pass
    listed = [{'id': 'a.ini', 'pid': ended.pid, 'on_demand': ''}]
    monkeypatch.setattr(_emperor, 'read_stats', lambda address, pid: {'vassals': listed})
    assert emperor.snapshot().pids == {} and emperor.leaves('a.ini', 60) and not emperor.leaves('b.ini', 0)
    del listed[:]
    emperor.snapshot()
    assert not emperor.leaves('a.ini', 0)
    ended.wait()


def test_whoever_takes_the_name_of_another_users_vassal_is_not_taken_for_that(tmp_path, monkeypatch):
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', str(tmp_path)), '/nowhere')
    emperor.pid = 70
    users = {70: 0, 71: 5, 72: 33, 73: 5}
    monkeypatch.setattr(_processes, 'process', lambda pid: (70, 5))
    monkeypatch.setattr(_processes, 'children', lambda pid: [71, 72, 73])
    monkeypatch.setattr(_processes, 'credentials', lambda pid: (users[pid], [0]))
    monkeypatch.setattr(_processes, 'arguments', lambda pid, limit=0: ['uwsgi', '--ini', 'c.ini' if pid == 73 else 'b.ini'])
    monkeypatch.setattr(emperor.configurations, 'identity', lambda filename: (33, 33))
    assert emperor.snapshot(wake=False).pids == {'b.ini': 72, 'c.ini': 73}
    # it has not become its user yet
    users[72] = 0
    assert emperor.snapshot(wake=False).pids == {'b.ini': 72, 'c.ini': 73}
    # nor does one that ends meanwhile count where nobody can tell whose it is to be
    monkeypatch.setattr(emperor.configurations, 'identity', lambda filename: (None, None))
    monkeypatch.setattr(_processes, 'credentials', lambda pid: None if pid == 71 else (users[pid], [0]))
    assert emperor.snapshot(wake=False).pids == {'b.ini': 72, 'c.ini': 73}
    monkeypatch.setattr(_processes, 'credentials', lambda pid: (users[pid], [0]))
    monkeypatch.setattr(emperor.configurations, 'identity', lambda filename: (33, 33))
    users.update({71: 33, 72: 33})
    with pytest.raises(VassalError, match='b.ini: the processes 71, 72 of the Emperor all say .* kill -KILL PID'):
        emperor.snapshot(wake=False)


DEFAULT = '/usr/bin/uwsgi-core'


@pytest.mark.parametrize(
    'program, named, asked',
    [
        (DEFAULT, DEFAULT, DEFAULT), (DEFAULT + ' (deleted)', None, DEFAULT), (DEFAULT, '/bin/sh', DEFAULT),
        # what /proc does not show is told by the first word of the process
        ('/usr/bin/uwsgi', '/etc/init.d/uwsgi-emperor', DEFAULT),
        ('/opt/bin/uwsgi', '/opt/bin/uwsgi', '/opt/bin/uwsgi'), ('/opt/bin/uwsgi (deleted)', '/opt/bin/uwsgi', '/opt/bin/uwsgi'),
        # by ptrace, and by a setuid program
        ('/bin/dash', DEFAULT, None), ('/bin/dash', '/bin/dash', None), ('/usr/bin/su', DEFAULT, None), ('/opt/bin/uwsgi', DEFAULT, None),
        ('/srv/bin/uwsgi', '/srv/bin/uwsgi', None),
    ],
)  # fmt: skip
def test_root_runs_no_program_that_an_emperors_user_may_have_put_there(monkeypatch, program, named, asked):
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', '/nowhere'), '/nowhere')
    given = []
    monkeypatch.setattr(_processes, 'arguments', lambda pid, limit=0: ['sh', '-c', 'id'])
    monkeypatch.setattr(_emperor, 'alterable', lambda path: ('/srv', 'it belongs to user 5') if path.startswith('/srv') else None)
    monkeypatch.setattr(_emperor.os, 'readlink', lambda link: program)
    monkeypatch.setattr(_emperor.os.path, 'realpath', lambda path: DEFAULT if path == '/usr/bin/uwsgi' else path)
    monkeypatch.setattr(emperor.configurations, 'settings', lambda arguments, options: given.append(emperor.configurations.binary) or ({}, []))
    emperor._find_settings(70, named)
    assert given == [asked or DEFAULT] and len(emperor.left_out) == (not asked), emperor.left_out
