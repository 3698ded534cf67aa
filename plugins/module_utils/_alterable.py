# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Who else than root may change what root reads at a path, or puts there."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import glob
import os
import re
import stat

from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes

# Groups whose members are as good as root: older releases of Debian let staff (50) write to /usr/local, where root looks for programs.
ROOTS = (0, 50)


def open_to(found, path=None):
    """Who else than root may make and remove files in a directory, by its os.lstat() and, where its path is given, its ACL; None where nobody may."""
    if not stat.S_ISDIR(found.st_mode):
        return 'it is not a directory'
    return open_by(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, path)


def open_above(path):
    """(directory, who else) of the first directory on the way to a file in which others than root may replace what leads there, or None.

    In a directory like /tmp, which is root's, sticky and everybody's, nobody replaces what is root's, and Debian's kernels follow no link of another
    there. They do where it is a group's alone (Documentation/admin-guide/sysctl/fs.rst, protected_symlinks).
    """
    way, steps, links = '/', path.split('/'), 0
    while steps:
        step = steps.pop(0)
        if step in ('', '.'):
            continue
        found = os.lstat(way)
        sticky = found.st_mode & stat.S_ISVTX and found.st_mode & stat.S_IWOTH and found.st_uid == 0
        who = None if sticky else open_to(found, way)
        if who:
            return way, who
        here = os.path.dirname(way) if step == '..' else os.path.join(way, step)
        if os.path.islink(here) and links < 40:
            maker = os.lstat(here).st_uid
            if maker not in (0, os.geteuid()):
                # whoever had made it before the directory became root's chose where it leads
                return here, 'it is a link of user %d' % maker
            links += 1
            steps = os.readlink(here).split('/') + steps
            way = '/' if os.path.isabs(os.readlink(here)) else way
        elif not os.path.isdir(here):
            break
        else:
            way = here
    return None


def alterable(path):
    """(file or directory, who else) by which others than root may change what is read at a path, or None."""
    found = open_above(path)
    if found:
        return found
    for directory in (os.path.dirname(path), path):
        # the one where all may make files, like /tmp, counts for what is not there yet
        if os.path.isdir(directory) and (directory == path or not os.path.lexists(path)):
            who = open_to(os.stat(directory), directory)
            if who:
                return directory, who
    if not os.path.isfile(path):
        return None
    file = os.stat(path)
    who = open_by(stat.S_IMODE(file.st_mode), file.st_uid, file.st_gid, path)
    return (path, who) if who else None


def ways(path):
    """A path, and where it may be a pattern, all directories in which the names stand for which it has wildcards."""
    parts = path.split('/')
    wild = [index for index, part in enumerate(parts) if re.search('[*?[]', part)]
    found = [glob.glob('/'.join(parts[:index])) for index in wild[1:]]
    return sum(found, [path, '/'.join(parts[: wild[0]]) or '/']) if wild else [path]


def alterable_ways(path):
    """Those of ways() by which others than root may change what is read at a path or pattern, each with what alterable() has found."""
    return [(one, found) for one, found in [(one, alterable(one)) for one in ways(path)] if found]


def open_by(mode, uid, gid, path=None):
    """Who else than root may change a file, or make and remove files in a directory, of this mode, user ID and group ID; None where nobody may."""
    if uid not in (0, os.geteuid()):
        return 'it belongs to user %d' % uid
    if mode & 0o002 or mode & 0o020 and gid not in ROOTS:
        return 'its mode is %04o' % mode
    # with an ACL, the bits of the group are the mask of all that it lets in
    return 'it has an ACL that lets others write' if mode & 0o020 and path and has_acl(path) else None


def open_by_default(directory):
    """Who else than root may use what root makes in a directory, whatever mode that is given; None where nobody may."""
    return 'it has a default ACL, which opens what is made there to others' if has_acl(directory, 'default') else None


def has_acl(path, kind='access'):
    """Whether there is an ACL for a file ('access'), or for all that is made in a directory ('default')."""
    name = 'system.posix_acl_' + kind
    if hasattr(os, 'getxattr'):
        try:
            return bool(os.getxattr(path, name))
        except OSError:
            return False
    # Python 2.7 has no such call
    import ctypes  # pylint: disable=import-outside-toplevel

    return ctypes.CDLL(None).getxattr(to_bytes(path), to_bytes(name), None, 0) > 0
