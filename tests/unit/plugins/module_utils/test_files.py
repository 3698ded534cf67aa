# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import os
import stat

import pytest
from ansible_collections.uwsgi.emperor.plugins.module_utils import _files
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in 'available', 'enabled':
        (tmp_path / name).mkdir()
    monkeypatch.setattr(_files, 'STATE_DIR', str(tmp_path / 'state'))
    monkeypatch.setattr(_files, 'STAGE', str(tmp_path / 'stage.'))
    monkeypatch.setattr(_files, 'RUN_DIR', str(tmp_path / 'run'))
    monkeypatch.setattr(_files, 'OWN_DIRS', str(tmp_path / 'run' / 'app'))
    return _files.Files(str(tmp_path / 'available'), str(tmp_path / 'enabled'))


def test_the_second_run_is_kept_off_and_told_of_the_first(files):
    descriptor = files.lock(0)
    assert files.busy()
    with pytest.raises(VassalError) as error:
        files.lock(0)
    assert 'process %d, since 2' % os.getpid() in str(error.value) and '/state/lock' in str(error.value)
    os.close(descriptor)
    assert not files.busy()
    os.close(files.lock(0))


def test_a_run_that_waits_says_so_once(files, monkeypatch):
    monkeypatch.setattr(_files, 'SILENCE', 0.0)
    descriptor, said = files.lock(0), []
    with pytest.raises(VassalError):
        files.lock(0.2, said.append)
    assert len(said) == 1 and 'process %d' % os.getpid() in said[0]
    os.close(descriptor)


def test_a_third_run_is_told_of_the_one_that_has_waited(files, monkeypatch):
    monkeypatch.setattr(_files, 'SILENCE', 0.0)
    first = files.lock(0)
    second = files.lock(5, lambda sentence: None, lambda seconds: os.close(first))
    with pytest.raises(VassalError) as error:
        files.lock(0)
    assert 'process %d, since 2' % os.getpid() in str(error.value)
    os.close(second)


def test_the_lock_is_not_taken_where_others_may_change_it(files, tmp_path):
    state = tmp_path / 'state'
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(VassalError) as error:
        files.lock(0)
    assert str(state) in str(error.value) and '0777' in str(error.value)
    state.rmdir()
    state.symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(VassalError):
        files.lock(0)


def test_who_takes_the_lock_removes_what_a_killed_run_left(files, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (tmp_path / 'available' / 'linked.ini').symlink_to(elsewhere / 'app.ini')
    left = [
        tmp_path / 'available' / '.a.ini.new',
        tmp_path / 'available' / '.a.ini._mgfibup.new',  # of an older release
        tmp_path / 'enabled' / '.a.ini.link',
        tmp_path / 'enabled' / '.a.ini.7901.link',
        elsewhere / '.app.ini.new',
        tmp_path / 'stage.999999999.x',
    ]
    kept = [
        tmp_path / 'available' / 'a.ini',
        tmp_path / 'available' / '.hidden',
        tmp_path / 'available' / '.profile.new',
        tmp_path / 'enabled' / 'x.new',
        elsewhere / '.other.ini.new',
        tmp_path / ('stage.%d.x' % os.getpid()),
    ]
    for path in left + kept:
        path.write_text(u'')
    os.close(files.lock(0))
    assert [path.name for path in left if path.exists()] == []
    assert [path.name for path in kept if not path.exists()] == []


def test_nobody_to_whose_directory_a_file_is_linked_keeps_a_run_from_its_work(files, tmp_path, monkeypatch):
    elsewhere = tmp_path / 'elsewhere'
    (elsewhere / '.app.ini.new' / 'kept').mkdir(parents=True)
    (elsewhere / '.file.ini.new').write_text(u'')
    elsewhere.chmod(0o777)
    for name in 'app', 'file':
        (tmp_path / 'available' / (name + '.ini')).symlink_to(elsewhere / (name + '.ini'))
    os.close(files.lock(0))
    assert os.listdir(str(elsewhere)) == ['.app.ini.new'] and (elsewhere / '.app.ini.new' / 'kept').exists()

    def refuse(path):
        raise OSError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(_files, 'alterable', refuse)
    os.close(files.lock(0))


def test_a_written_file_keeps_its_access_and_leaves_nothing_beside(files, tmp_path):
    (tmp_path / 'available' / '.a.ini.new').mkdir()
    own = os.getuid(), os.getgid()
    files.write('a.ini', b'1', 100, (0o640,) + own)
    path = tmp_path / 'available' / 'a.ini'
    path.chmod(0o600)
    files.write('a.ini', b'2', 200)
    assert (path.read_bytes(), path.stat().st_mtime, stat.S_IMODE(path.stat().st_mode)) == (b'2', 200, 0o600)
    assert os.listdir(str(tmp_path / 'available')) == ['a.ini']


def test_a_link_is_set_in_the_place_of_what_is_there(files, tmp_path):
    (tmp_path / 'enabled' / 'a.ini').symlink_to('/nowhere')
    files.link('a.ini')
    assert os.readlink(str(tmp_path / 'enabled' / 'a.ini')) == '../available/a.ini'
    files.unlink('a.ini')
    files.unlink('a.ini')
    assert os.listdir(str(tmp_path / 'enabled')) == []


def test_all_that_a_vassal_leaves_goes_whatever_it_is(files, tmp_path):
    (tmp_path / 'available' / 'a.ini').write_text(u'')
    (tmp_path / 'apps-env').mkdir()
    (tmp_path / 'apps-env' / 'a.ini').write_text(u'')
    outside = tmp_path / 'outside'
    outside.mkdir()
    own = tmp_path / 'run' / 'app' / 'a'
    own.mkdir(parents=True)
    (own / 'link').symlink_to(outside)
    (tmp_path / 'run' / 'a.pid').mkdir()
    (tmp_path / 'run' / 'a.socket').symlink_to(outside)
    (tmp_path / 'run' / 'b.socket').write_text(u'')
    files.delete_all('a.ini')
    assert sorted(os.listdir(str(tmp_path / 'run'))) == ['app', 'b.socket'] and outside.exists() and not own.exists()
    assert os.listdir(str(tmp_path / 'apps-env')) == os.listdir(str(tmp_path / 'available')) == []
    files.delete_all('a.ini')


@pytest.mark.parametrize('uid, cleared', [(1001, True), (1000, False), (0, False)])
def test_a_directory_of_a_previous_user_goes_and_no_other(files, tmp_path, monkeypatch, uid, cleared):
    own = tmp_path / 'run' / 'app' / 'a'
    (own / 'fifo').mkdir(parents=True)
    (own / 'stats').write_text(u'')
    real = os.lstat

    def by(path):
        found = list(real(path))
        if path.startswith(str(own)):
            found[stat.ST_UID] = 0 if uid == 0 else 1000
        return os.stat_result(found)

    monkeypatch.setattr(_files.os, 'lstat', by)
    files.clear_own_dir('a.ini', uid)
    assert own.exists() is not cleared
    files.clear_own_dir('b.ini', uid)


@pytest.mark.parametrize('acl, uid', [(True, 1000), (False, 1001)])
def test_what_goes_while_it_is_looked_at_saves_no_directory_of_a_previous_users(files, tmp_path, monkeypatch, acl, uid):
    """Who renames files in it all the time must not be the one who decides that it stays."""
    own = tmp_path / 'run' / 'app' / 'a'
    own.mkdir(parents=True)
    real = os.lstat

    def by(path):
        found = list(real(path))
        if path.startswith(str(own)):
            found[stat.ST_UID] = 1000
        return os.stat_result(found)

    monkeypatch.setattr(_files.os, 'lstat', by)
    monkeypatch.setattr(_files, 'has_acl', lambda path, kind: acl)
    monkeypatch.setattr(_files.os, 'listdir', lambda path: ['gone'])
    files.clear_own_dir('a.ini', uid)
    assert not own.exists()


def test_what_root_may_not_look_at_is_named(files, tmp_path, monkeypatch):
    """As where its user has mounted a file system of FUSE there."""
    own = tmp_path / 'run' / 'app' / 'a'
    own.mkdir(parents=True)

    def refuse(path):
        raise OSError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(_files.os, 'lstat', refuse)
    for attempt in lambda: files.clear_own_dir('a.ini', 1000), lambda: files.delete_all('a.ini'):
        with pytest.raises(VassalError, match='%s can not be looked at, not even by root: Permission denied.*findmnt' % own):
            attempt()


def test_a_change_is_noted_until_it_is_taken_up(files):
    assert files.noted('a.ini') is None
    os.close(files.lock(0))
    files.note('a.ini', 'restart', [(10, 1234), (11, 1235)])
    assert files.noted('a.ini') == ('restart', [(10, 1234), (11, 1235)])
    files.forget('a.ini')
    files.forget('a.ini')
    assert files.noted('a.ini') is None


@pytest.fixture
def removal(tmp_path, monkeypatch):
    """What is said of a directory that an `rm` of this script can not remove."""

    monkeypatch.setattr(_files, 'RUN_DIR', str(tmp_path / 'run'))

    def fails(script):
        monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
        (tmp_path / 'rm').write_text(u'#!/bin/sh\n%s\n' % script)
        (tmp_path / 'rm').chmod(0o755)
        (tmp_path / 'own').mkdir()
        with pytest.raises(VassalError) as error:
            _files.remove(str(tmp_path / 'own'))
        return str(error.value)

    return fails


def test_a_directory_that_can_not_be_removed_is_named_with_what_was_seen(removal, tmp_path):
    said = removal('echo "rm: cannot remove: Directory not empty" >&2; exit 1')
    assert str(tmp_path / 'own') in said and 'Directory not empty' in said
    assert stat.S_IMODE((tmp_path / 'own').stat().st_mode) == 0o700


def test_a_directory_in_the_runtime_directory_is_out_of_the_way_whoever_keeps_writing_there(files, removal, tmp_path, monkeypatch):
    own = tmp_path / 'run' / 'app' / 'a' / 'fifo'
    own.mkdir(parents=True)
    removal('exit 1')
    _files.remove(str(own.parent))
    left = [entry for entry in os.listdir(str(tmp_path / 'state')) if entry.startswith('gone.')]
    assert not own.parent.exists() and len(left) == 1 and stat.S_IMODE((tmp_path / 'state').stat().st_mode) == 0o700


@pytest.mark.parametrize('where, call', [('run/app/a', 'lstat'), ('run/app/a', 'rename'), ('elsewhere/a', 'lstat'), ('elsewhere/a', 'open')])
def test_a_directory_that_systemd_removes_at_the_same_time_is_removed(files, tmp_path, monkeypatch, where, call):
    monkeypatch.setattr(_files, 'RUN_DIR', str(tmp_path / 'run'))
    (tmp_path / where).mkdir(parents=True)
    does, removed = getattr(os, call), []

    def late(path, *args, **kwargs):
        if str(path) == str(tmp_path / where) and not removed:
            os.rmdir(path)
            removed.append(path)
        return does(path, *args, **kwargs)

    monkeypatch.setattr(_files.os, call, late)
    _files.remove(str(tmp_path / where))
    assert removed and not (tmp_path / where).exists()


def test_a_directory_that_is_not_removed_for_want_of_a_program_is_told(tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(OSError):
        _files.remove(str(tmp_path / 'a'))


def test_a_file_in_the_place_of_a_directory_is_not_opened_to_others(tmp_path):
    (tmp_path / 'a').write_text(u'')
    (tmp_path / 'a').chmod(0o600)
    with pytest.raises(OSError):
        _files.touch(str(tmp_path / 'a' / 'b'))
    assert stat.S_IMODE((tmp_path / 'a').stat().st_mode) == 0o600


def test_what_another_run_removes_or_makes_at_the_same_time_is_no_error(files, tmp_path, monkeypatch):
    monkeypatch.setattr(_files, 'OWN_DIRS', str(tmp_path / 'app'))
    (tmp_path / 'app' / 'a').mkdir(parents=True)
    lists, makes = os.listdir, os.mkdir

    def list_late(path):
        os.rmdir(path)
        return lists(path)

    def make_late(path, *args):
        makes(path, *args)
        return makes(path, *args)

    monkeypatch.setattr(_files.os, 'listdir', list_late)
    files.clear_own_dir('a.ini', os.geteuid())
    monkeypatch.setattr(_files.os, 'mkdir', make_late)
    _files.touch(str(tmp_path / 'new' / 'deep' / 'mark'))
    assert not (tmp_path / 'app' / 'a').exists() and (tmp_path / 'new' / 'deep' / 'mark').exists()


def test_the_removal_of_a_directory_takes_no_longer_than_it_may(removal, monkeypatch):
    monkeypatch.setattr(_files, 'REMOVAL', 0.1)
    assert 'longer than' in removal('exec sleep 60')


def test_an_error_of_a_full_disk_names_the_file(files, tmp_path, monkeypatch):
    def full(*dummy):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_files.os, 'fchmod', full)
    with pytest.raises(OSError) as error:
        files.write('a.ini', b'[uwsgi]\n', 1)
    assert str(tmp_path / 'available' / '.a.ini.new') in str(error.value)
    monkeypatch.setattr(_files.os, 'ftruncate', full)
    with pytest.raises(VassalError) as error:
        files.lock(0)
    assert str(tmp_path / 'state' / 'lock') in str(error.value) and 'Nothing was changed' in str(error.value)
