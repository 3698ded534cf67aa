# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Who else than root may change what root reads at a path, or puts there."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import stat

# Groups whose members are as good as root: older releases of Debian let staff (50) write to /usr/local, where root looks for programs.
ROOTS = (0, 50)


def open_to(found):
    """Who else than root may make and remove files in a directory, by its os.lstat(); None where nobody may."""
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        return 'it is not a directory'
    if found.st_uid not in (0, os.geteuid()):
        return 'it belongs to user %d' % found.st_uid
    if mode & 0o002 or mode & 0o020 and found.st_gid not in ROOTS:
        return 'its mode is %04o' % mode
    return None


def open_above(path):
    """(directory, who else) of the first directory on the way to a file in which others than root may replace what leads there, or None.

    In a directory like /tmp, which is root's and sticky, nobody replaces what is root's, and Debian's kernels follow no link of another there.
    """
    way, steps, links = '/', path.split('/'), 0
    while steps:
        step = steps.pop(0)
        if step in ('', '.'):
            continue
        found = os.lstat(way)
        sticky = found.st_mode & stat.S_ISVTX and found.st_uid == 0
        if open_to(found) and not sticky:
            return way, open_to(found)
        here = os.path.dirname(way) if step == '..' else os.path.join(way, step)
        if os.path.islink(here) and links < 40:
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
        if os.path.isdir(directory) and (directory == path or not os.path.lexists(path)) and open_to(os.stat(directory)):
            return directory, open_to(os.stat(directory))
    if not os.path.isfile(path):
        return None
    file = os.stat(path)
    mode = stat.S_IMODE(file.st_mode)
    if file.st_uid not in (0, os.geteuid()):
        return path, 'it belongs to user %d' % file.st_uid
    if mode & 0o002 or mode & 0o020 and file.st_gid not in ROOTS:
        return path, 'its mode is %04o' % mode
    return None
