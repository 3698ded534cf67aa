# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import stat
import struct

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _alterable

NOBODY = 0xFFFFFFFF


@pytest.mark.parametrize(
    'mode, uid, gid, wanted',
    [
        (stat.S_IFDIR | 0o755, 0, 0, None),
        (stat.S_IFDIR | 0o775, 0, 0, None),
        (stat.S_IFDIR | 0o2775, 0, 33, 'its mode is 2775'),
        (stat.S_IFDIR | 0o2775, 0, 50, None),
        (stat.S_IFDIR | 0o1777, 0, 0, 'its mode is 1777'),
        (stat.S_IFDIR | 0o750, 33, 33, 'it belongs to user 33'),
        (stat.S_IFLNK | 0o777, 0, 0, 'it is not a directory'),
    ],
)
def test_a_directory_is_open_to_others_than_root_by_owner_and_mode(mode, uid, gid, wanted):
    assert _alterable.open_to(os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))) == wanted


@pytest.mark.parametrize(
    'made, path, open_at',
    [
        (['d 0755'], 'd/log', None),
        (['d 0777'], 'd/log', 'd'),
        (['d 0777', 'd/e 0755'], 'd/e/log', 'd'),
        (['d 0755', 'd/e 0777'], 'd/e/log', 'd/e'),
        (['d 1777'], 'd/log', None),
        (['d 0777'], 'gone/log', None),
        (['d 0777', 'link -> d'], 'link/log', 'd'),
        (['d 0777', 'd/e 0755', 'link -> d/e'], 'link/log', 'd'),
        (['d 0755', 'e 0777', 'd/log -> ../e/log'], 'd/log', 'e'),
        (['loop -> loop'], 'loop/log', None),
    ],
)
def test_a_directory_of_others_is_found_on_the_way_to_a_file(tmp_path, monkeypatch, made, path, open_at):
    for one in made:
        name, arrow, target = one.partition(' -> ')
        if arrow:
            (tmp_path / name).symlink_to(target)
        else:
            name, mode = one.split()
            (tmp_path / name).mkdir()
            (tmp_path / name).chmod(int(mode, 8))
    # what is above the test's own directory is this machine's
    judge, own = _alterable.open_to, os.lstat(str(tmp_path)).st_ino
    below = set(os.lstat(os.path.join(at, name)).st_ino for at, names, dummy in os.walk(str(tmp_path)) for name in names) | set([own])
    monkeypatch.setattr(_alterable, 'open_to', lambda found, path: judge(found, path) if found.st_ino in below else None)
    found = _alterable.open_above(str(tmp_path / path))
    assert (found and os.path.relpath(found[0], str(tmp_path))) == open_at


@pytest.mark.parametrize('kind', ['missing', 'directory'])
def test_what_others_can_make_is_no_place_for_what_root_reads(tmp_path, kind):
    tmp_path.chmod(0o755)
    area = tmp_path / 'area'
    area.mkdir()
    area.chmod(0o1777)
    assert _alterable.alterable(str(tmp_path / 'missing')) is None
    found = _alterable.alterable(str(area / 'missing') if kind == 'missing' else str(area))
    assert found == (str(area), 'its mode is 1777')


@pytest.mark.parametrize('mode, owner, told', [(0o644, 0, None), (0o664, 0, '0664'), (0o646, 0, '0646'), (0o644, 1000, 'user 1000')])
def test_a_file_that_others_may_change_is_no_place_for_what_root_reads(monkeypatch, tmp_path, mode, owner, told):
    path = tmp_path / 'a.ini'
    path.write_text(u'')
    real = os.stat(str(path))
    monkeypatch.setattr(_alterable, 'open_above', lambda path: None)
    fake = type('Found', (), dict(st_mode=real.st_mode & ~0o777 | mode, st_uid=owner or os.geteuid(), st_gid=1000))
    monkeypatch.setattr(_alterable.os.path, 'isfile', lambda path: True)
    monkeypatch.setattr(_alterable.os.path, 'isdir', lambda path: False)
    monkeypatch.setattr(_alterable.os, 'stat', lambda path, **options: fake)
    found = _alterable.alterable(str(path))
    monkeypatch.undo()
    assert (found and found[1].split()[-1]) == (told and told.split()[-1])


@pytest.mark.parametrize('mode, open_at', [(0o1775, True), (0o1777, False)])
def test_a_sticky_directory_is_safe_only_where_it_is_everybodys(monkeypatch, mode, open_at):
    found = os.stat_result((stat.S_IFDIR | mode, 1, 1, 1, 0, 33, 0, 0, 0, 0))
    root = os.stat_result((stat.S_IFDIR | 0o755, 1, 1, 1, 0, 0, 0, 0, 0, 0))
    monkeypatch.setattr(_alterable.os, 'lstat', lambda path: found if path == '/d' else root)
    monkeypatch.setattr(_alterable.os.path, 'isdir', lambda path: path in ('/', '/d'))
    assert (_alterable.open_above('/d/log') == ('/d', 'its mode is 1775')) is open_at


def test_a_link_of_another_leads_where_that_one_says(tmp_path, monkeypatch):
    """As one that an application has left in a directory that is root's since."""
    tmp_path.chmod(0o755)
    (tmp_path / 'a.log').symlink_to('/etc/nowhere')
    assert _alterable.open_above(str(tmp_path / 'a.log')) is None
    real = os.lstat

    def by(path):
        found = list(real(path))
        found[stat.ST_UID] = 33 if path.endswith('a.log') else found[stat.ST_UID]
        return os.stat_result(found)

    monkeypatch.setattr(_alterable.os, 'lstat', by)
    assert _alterable.open_above(str(tmp_path / 'a.log')) == (str(tmp_path / 'a.log'), 'it is a link of user 33')


def set_acl(path, kind):
    """What setfacl -m u:5:rwx makes of a directory: root's own group has the mask then."""
    setxattr = getattr(os, 'setxattr', None) or pytest.skip('Python 2.7 sets none')
    entries = (1, 7, NOBODY), (2, 7, 5), (4, 5, NOBODY), (16, 7, NOBODY), (32, 5, NOBODY)
    try:
        setxattr(str(path), 'system.posix_acl_' + kind, struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries))
    except OSError as error:
        pytest.skip('no ACLs here: %s' % error)


def test_who_gets_at_what_is_made_in_a_directory_is_seen(tmp_path):
    assert _alterable.open_by_default(str(tmp_path)) is None
    set_acl(tmp_path, 'default')
    assert _alterable.open_by_default(str(tmp_path)) == 'it has a default ACL, which opens what is made there to others'


def test_who_an_acl_lets_in_is_seen(tmp_path):
    tmp_path.chmod(0o755)
    assert _alterable.open_to(os.lstat(str(tmp_path)), str(tmp_path)) is None
    set_acl(tmp_path, 'access')
    assert _alterable.open_by(0o775, os.geteuid(), 0, str(tmp_path)) == 'it has an ACL that lets others write'
    assert _alterable.open_by(0o775, os.geteuid(), 0) is None


def test_a_path_without_an_acl_has_none_whatever_the_python():
    assert _alterable.has_acl('/usr') is False and _alterable.has_acl('/nowhere', 'default') is False
