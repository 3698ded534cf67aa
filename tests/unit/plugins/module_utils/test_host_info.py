# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import stat
import time

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _host_info
from ansible_collections.uwsgi.emperor.plugins.module_utils._host_info import describe_file, describe_unit, find_upstreams, is_leftover, read_release

DEBIAN = '''PRETTY_NAME="Debian GNU/Linux %s"
NAME="Debian GNU/Linux"
ID=debian
'''


@pytest.mark.parametrize(
    'text, wanted',
    [
        (DEBIAN % '13 (trixie)' + 'VERSION_ID="13"\n', (True, 'debian', 13)),
        (DEBIAN % '8 (jessie)' + 'VERSION_ID="8"\n', (True, 'debian', 8)),
        # testing has no version
        (DEBIAN % 'forky/sid', (True, 'debian', 0)),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', (True, 'ubuntu', 24)),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="22"\n', (True, 'linuxmint', 22)),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n', (False, 'rocky', 9)),
        ('', (False, 'linux', 0)),
    ],
)
def test_a_release_is_told_by_its_own_file(text, wanted):
    assert read_release(text) == wanted


@pytest.mark.parametrize('systemd', [True, False])
def test_what_runs_since_before_its_units_were_written_is_told(tmp_path, monkeypatch, systemd):
    for number, name in enumerate(['SERVICE', 'SOCKET']):
        (tmp_path / name).write_text(u'')
        os.utime(str(tmp_path / name), (time.time() - 100 * number - 50,) * 2)
        monkeypatch.setattr(_host_info, name, str(tmp_path / name))
    monkeypatch.setattr(_host_info, 'supervises', lambda: systemd)
    monkeypatch.setattr(_host_info._processes, 'age', {1: 30, 2: 60}.get)
    vassals = [dict(name=name, pid=pid) for name, pid in (('new', 1), ('old', 2), ('down', None), ('ended', 3))]
    assert _host_info.older_than_units(vassals) == (['old'] if systemd else [])
    os.remove(str(tmp_path / 'SERVICE'))
    assert _host_info.older_than_units(vassals) == []


def test_a_unit_that_systemd_does_not_know():
    unit = describe_unit(dict(LoadState='not-found', ActiveState='inactive', MainPID='0', UnitFileState='', FragmentPath='', NeedDaemonReload='no'))
    assert unit == dict(there=False, masked=False, path='', active=False, pid=None, enabled=False, unread=False)


def test_a_unit_that_runs():
    shown = dict(LoadState='loaded', ActiveState='active', MainPID='17', UnitFileState='enabled', FragmentPath='/x.service', NeedDaemonReload='yes')
    assert describe_unit(shown) == dict(there=True, masked=False, path='/x.service', active=True, pid=17, enabled=True, unread=True)


@pytest.mark.parametrize(
    'name, kind, user, links, wanted',
    [
        # what a process that runs since an older release has made stays
        ('blog.socket', stat.S_IFSOCK, 33, 1, False),
        ('blog.fifo', stat.S_IFIFO, 33, 1, False),
        ('blog.pid', stat.S_IFREG, 0, 1, False),
        ('app', stat.S_IFDIR, 0, 2, False),
        ('blog.pid', stat.S_IFREG, 33, 1, True),
        ('blog.pid', stat.S_IFIFO, 33, 1, True),
        ('blog.pid', stat.S_IFSOCK, 33, 1, True),
        ('blog.socket', stat.S_IFIFO, 33, 1, True),
        ('blog.socket', stat.S_IFLNK, 33, 1, True),
        ('blog.ini', stat.S_IFREG, 33, 1, True),
        ('app', stat.S_IFDIR, 33, 2, True),
        # a second name of a file of root's
        ('blog.pid', stat.S_IFREG, 0, 2, True),
    ],
)
def test_what_root_may_not_find_in_the_runtime_directory(name, kind, user, links, wanted):
    assert is_leftover(name, os.stat_result((kind | 0o644, 1, 1, links, user, 0, 0, 0, 0, 0))) is wanted


def test_a_file_is_described_in_one_line(tmp_path):
    here = str(tmp_path)
    (tmp_path / 'file').write_bytes(b'one')
    os.chmod(here + '/file', 0o640)
    os.chmod(here, 0o711)
    os.symlink('file', here + '/link')
    os.symlink('nowhere', here + '/dangling')
    os.symlink('.', here + '/elsewhere')
    os.mkfifo(here + '/fifo')
    who = '%d:%d' % (os.geteuid(), os.getegid())

    def checksum(path):
        return 'SHA of ' + os.path.basename(path)

    assert describe_file(here + '/file', checksum) == 'file %s 0640 SHA of file' % who
    assert describe_file(here, checksum) == describe_file(here + '/elsewhere', checksum) == 'directory %s 0711' % who
    assert describe_file(here + '/link', checksum) == 'link'
    assert describe_file(here + '/fifo', checksum) == 'special'
    assert describe_file(here + '/nothing', checksum) == describe_file(here + '/dangling', checksum) == 'nothing'


def test_nginxs_upstreams_are_found_behind_links_but_for_the_roles_own(tmp_path, monkeypatch):
    monkeypatch.setattr(_host_info, 'NGINX', '/bin/sh')
    monkeypatch.setattr(_host_info, 'NGINX_FILES', ['%s/%s' % (tmp_path, one) for one in ('nginx.conf', 'conf.d', 'sites-enabled', 'nowhere')])
    for directory in 'conf.d', 'sites-available', 'sites-enabled':
        (tmp_path / directory).mkdir()
    (tmp_path / 'nginx.conf').write_bytes(b'http {\n  upstream one{ server 127.0.0.1; }\n  # upstream none {\n}\n')
    (tmp_path / 'conf.d' / 'other.conf').write_bytes(b'upstream two { server 127.0.0.1; }\n')
    (tmp_path / 'conf.d' / 'uwsgi-vassals.conf').write_bytes(b'upstream three { server unix:/run/uwsgi/three.socket; }\n')
    (tmp_path / 'sites-available' / 'site').write_bytes(b'\tupstream\tfour\n{ server 127.0.0.1; }\n')
    (tmp_path / 'sites-available' / 'unused').write_bytes(b'upstream five { }\n')
    (tmp_path / 'sites-enabled' / 'site').symlink_to('../sites-available/site')
    (tmp_path / 'sites-enabled' / 'loop').symlink_to('.')
    (tmp_path / 'sites-enabled' / 'binary').write_bytes(b'\xff\nupstream six {}\n')
    assert find_upstreams() == ['four', 'one', 'two']


def test_without_nginx_there_are_no_upstreams(monkeypatch):
    monkeypatch.setattr(_host_info, 'NGINX', '/nowhere/nginx')
    assert find_upstreams() is None


def test_what_has_an_acl_in_the_runtime_directory_is_told_but_for_links(monkeypatch, tmp_path):
    monkeypatch.setattr(_host_info, 'RUN_DIR', str(tmp_path / 'run'))
    assert _host_info.find_acls() == []
    (tmp_path / 'run').mkdir()
    for name in 'a.socket', 'b.socket':
        (tmp_path / 'run' / name).write_text(u'')
    (tmp_path / 'run' / 'c.socket').symlink_to('a.socket')
    having = [(str(tmp_path / 'run'), 'default')] + [(str(tmp_path / 'run' / name), 'access') for name in ('a.socket', 'c.socket')]
    monkeypatch.setattr(_host_info, 'has_acl', lambda path, kind='access': (path, kind) in having)
    assert _host_info.find_acls() == [str(tmp_path / 'run'), str(tmp_path / 'run' / 'a.socket')]
    # its owner has let others to it
    del having[0]
    assert _host_info.find_acls() == []


@pytest.mark.parametrize('uid, told', [(33, True), (0, False)])
def test_an_acl_of_the_directory_of_the_logs_is_told_while_that_is_anothers(monkeypatch, tmp_path, uid, told):
    monkeypatch.setattr(_host_info, 'RUN_DIR', str(tmp_path / 'run'))
    monkeypatch.setattr(_host_info, 'LOGS', str(tmp_path))
    monkeypatch.setattr(_host_info, 'has_acl', lambda path, kind='access': path == str(tmp_path) and kind == 'default')
    monkeypatch.setattr(_host_info, '_owner', {str(tmp_path): uid}.get)
    assert _host_info.find_acls() == ([str(tmp_path)] if told else [])
