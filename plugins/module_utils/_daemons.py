# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The daemons of Debian's init script /etc/init.d/uwsgi: one uWSGI for each application, which systemd knows nothing of by name."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import stat

from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import entries
from ansible_collections.uwsgi.emperor.plugins.module_utils._processes import command_line, process
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import EMPEROR
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes, to_native

# Bytes of a command line in which the init script's options stand: anybody's process may have a long one.
_ENOUGH = 1 << 17
# The log that the init script gives to an application's daemon.
LOGS = '/var/log/uwsgi/app'
LOG = re.compile(r'%s/([^/\x00-\x1f\x7f]+)\.log\Z' % LOGS)


def find_daemons(service):
    """The names of applications by the PIDs of the init script's daemons, masters and workers.

    service: the properties FragmentPath and ControlGroup of uwsgi.service, as systemd has them. Where the service is the Emperor's, what its
    vassals call themselves is their word.
    """
    group = service.get('ControlGroup', '') if service.get('FragmentPath') != EMPEROR else ''
    logs = inodes('%s/%s' % (LOGS, name) for name in entries(LOGS))
    found = {}
    for entry in os.listdir('/proc'):
        # the kernel is asked first: anybody's command line may be long, and slow to be read
        if entry.isdigit() and is_daemon('/proc/' + entry, logs, group):
            # the script gives it once: who writes it a thousand times is not looked at for each
            log = to_native(command_line(int(entry), _ENOUGH).partition(b'\0--daemonize\0')[2].partition(b'\0')[0])
            name = LOG.match(log)
            if name and process(int(entry)) and is_daemon('/proc/' + entry, inodes([log]), group):
                found[int(entry)] = name.group(1)
    return found


def masters(found):
    """The PIDs of the masters among the daemons that find_daemons() has found, by their application's name."""
    return dict((name, pid) for pid, name in found.items() if (process(pid) or (0,))[0] not in found)


def is_named(directory):
    """Whether a process calls itself uWSGI; directory: its own in /proc."""
    return (_processes.read(directory + '/comm') or b'').startswith(b'uwsgi')


def is_daemon(directory, logs, group):
    """Whether a process with the arguments of a daemon is one, as anybody can give a process these.

    Only root can open the log to write, which a daemon and its workers keep open as their standard output and error (core/logging.c, logto()), also after
    a reload; and only root can put a process in the script's service, by which those count whose log has gone, or whose files root may not look at, as
    in a container.

    directory: the process's own in /proc. logs: of which it has one open, by inodes(). group: the control group of the script's service, '' if that
    does not count.
    """
    if not is_named(directory):
        return False
    return bool(group) and to_bytes(group) in _processes.groups(directory) or writes_to(directory, logs)


def writes_to(directory, logs):
    """Whether a process has one of the files open to write as its standard output or error; directory: the process's own in /proc."""
    for entry in directory + '/fd/1', directory + '/fd/2':
        try:
            # the link's own mode says what the file is open for
            if os.lstat(entry).st_mode & stat.S_IWUSR and _inode(entry) in logs:
                return True
        except OSError:
            pass
    return False


def inodes(paths):
    """(device, inode) of each of the files that are there: the text of a link in /proc is what a process has mounted in a place of its own."""
    found = set()
    for path in paths:
        try:
            found.add(_inode(to_bytes(path)))
        except OSError:
            continue
    return found


def _inode(path):
    found = os.stat(path)
    return found.st_dev, found.st_ino
