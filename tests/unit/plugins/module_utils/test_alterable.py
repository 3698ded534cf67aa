# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import stat

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _alterable


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
    monkeypatch.setattr(_alterable, 'open_to', lambda found: judge(found) if found.st_ino in below else None)
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
