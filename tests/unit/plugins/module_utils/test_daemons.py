# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import subprocess

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _daemons
from ansible_collections.uwsgi.emperor.plugins.module_utils._daemons import is_daemon

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
    assert is_daemon(directory(files=None), log, SERVICE)


@pytest.mark.parametrize('cgroup', ['/other', SERVICE + 's', '/user.slice' + SERVICE, '/system.slice/uwsgi.service', ''])
@pytest.mark.parametrize('group', [SERVICE, ''], ids=['script', 'emperor'])
def test_a_process_elsewhere_is_no_daemon_for_its_name(directory, log, cgroup, group):
    assert not is_daemon(directory(cgroup=cgroup), log, group)


def test_where_the_service_is_the_emperors_it_tells_nothing(directory, log):
    assert not is_daemon(directory(), log, '')


@pytest.mark.parametrize('flags, wanted', [(os.O_WRONLY | os.O_APPEND, True), (os.O_RDWR, True), (os.O_RDONLY, False)])
def test_a_process_elsewhere_is_a_daemon_if_it_has_its_log_open_to_write(directory, log, flags, wanted):
    handle = os.open(log, flags)
    try:
        found = directory(cgroup='/user.slice')
        assert is_daemon(found, log, SERVICE) is wanted
        assert not is_daemon(found, log + '.1', SERVICE)
    finally:
        os.close(handle)


@pytest.mark.skipif(not hasattr(os, 'O_PATH'), reason='Python 2.7 does not name it')
def test_a_log_that_may_not_be_opened_but_named_makes_no_daemon(directory, log):
    os.chmod(log, 0)
    handle = os.open(log, os.O_PATH)
    try:
        assert not is_daemon(directory(cgroup='/user.slice'), log, SERVICE)
    finally:
        os.close(handle)


def test_a_process_of_another_name_is_no_daemon(directory, log):
    assert not is_daemon(directory(comm='tail'), log, SERVICE)


@pytest.mark.parametrize('name, long, wanted', [('uwsgi', False, True), ('tail', False, False), ('uwsgi', True, False)], ids=['daemon', 'another', 'endless'])
def test_daemons_are_found_by_their_names_and_the_beginning_of_their_command_lines(monkeypatch, tmp_path, log, name, long, wanted):
    monkeypatch.setattr(_daemons, 'LOG', _daemons.re.compile(r'%s/([^/]+)\.log\Z' % tmp_path))
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
