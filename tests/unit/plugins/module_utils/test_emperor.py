# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _emperor, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import Emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import Files
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import Snapshot


def test_of_who_keeps_listening_only_the_sockets_own_user_is_named(tmp_path, monkeypatch):
    path = tmp_path / 'a.socket'
    path.write_text(u'')
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', '/nowhere/enabled'), '/nowhere')
    emperor.pid = 70
    monkeypatch.setattr(_emperor, 'listener', lambda path: 71)
    monkeypatch.setattr(_emperor, 'holders', lambda path: [1, 72])
    monkeypatch.setattr(_processes, 'credentials', {1: (os.geteuid() + 1, [0]), 72: (os.geteuid(), [0])}.get)
    # a child of the Emperor is a vassal only where the Emperor says so: a vassal can make one
    monkeypatch.setattr(_processes, 'process', lambda pid: (70, 5))
    monkeypatch.setattr(emperor, 'snapshot', lambda wake: Snapshot({'b.ini': 71}, None, {}))
    assert emperor.close_socket(str(path)) is None and path.exists()
    monkeypatch.setattr(emperor, 'snapshot', lambda wake: Snapshot({'b.ini': 73}, None, {}))
    assert emperor.close_socket(str(path)).endswith('end it: process 72')
    assert not path.exists() and emperor.close_socket(str(path)) is None


@pytest.mark.parametrize('user, wanted', [(0, 71), (1000, None)], ids=['its own', 'what a vassal has made'])
def test_the_emperor_is_a_child_of_its_master_only_with_the_masters_user(tmp_path, monkeypatch, user, wanted):
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', str(tmp_path)), '/nowhere')
    monkeypatch.setattr(_processes, 'children', lambda pid: [71])
    monkeypatch.setattr(_processes, 'credentials', {70: (0, [0]), 71: (user, [user])}.get)
    monkeypatch.setattr(_processes, 'arguments', lambda pid: ['/usr/bin/uwsgi-core'])
    monkeypatch.setattr(_emperor.os, 'readlink', {'/proc/70/cwd': '/', '/proc/71/cwd': str(tmp_path)}.get)
    monkeypatch.setattr(_emperor.os.path, 'realpath', lambda path: path)
    assert emperor._emperor_among(70)[0] == wanted
