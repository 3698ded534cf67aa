# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

from ansible_collections.uwsgi.emperor.plugins.module_utils import _emperor, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import Emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import Files


def test_of_who_keeps_listening_only_the_sockets_own_user_is_named(tmp_path, monkeypatch):
    path = tmp_path / 'a.socket'
    path.write_text(u'')
    emperor = Emperor(None, 'uwsgi.service', Files('/nowhere/available', '/nowhere/enabled'), '/nowhere')
    emperor.pid = 70
    monkeypatch.setattr(_emperor, 'listener', lambda path: 71)
    monkeypatch.setattr(_emperor, 'holders', lambda path: [1, 72])
    monkeypatch.setattr(_processes, 'process', lambda pid: None)
    monkeypatch.setattr(_processes, 'credentials', {1: (os.geteuid() + 1, [0]), 72: (os.geteuid(), [0])}.get)
    assert emperor.close_socket(str(path)).endswith('end it: process 72')
    assert not path.exists() and emperor.close_socket(str(path)) is None
