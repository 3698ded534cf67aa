# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the role uwsgi.emperor.emperor asks of a host, in one answer: all its decisions are made of this."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import fnmatch
import os
import re
import stat
import sys
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._alterable import has_acl
from ansible_collections.uwsgi.emperor.plugins.module_utils._daemons import find_daemons
from ansible_collections.uwsgi.emperor.plugins.module_utils._describe import describe_all
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import OWN_DIRS, RUN_DIR, entries, find_texts
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import SYSTEMCTL, find_host, layout_spec
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import DEBIAN_EMPEROR, OTHERS, blocks, bounded
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import EMPEROR, SERVICE, SOCKET, supervises
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native

UWSGI = '/usr/bin/uwsgi-core'
LOGROTATE = '/usr/sbin/logrotate'
PLUGINS = '/usr/lib/uwsgi/plugins'
LOGS = '/var/log/uwsgi'
NGINX = '/usr/sbin/nginx'
# Where nginx's own configuration and Debian's sites are, and the file of the role's own there.
NGINX_FILES = ['/etc/nginx/nginx.conf', '/etc/nginx/conf.d', '/etc/nginx/sites-enabled']
NGINX_OWN = 'uwsgi-vassals.conf'
# What the Emperor reads when it starts, and the directory that systemd makes for it then.
EMPEROR_FILES = [EMPEROR, '/etc/uwsgi/emperor.ini']
EMPEROR_DIR = '/run/uwsgi-emperor'
UNITS = ['uwsgi.service', 'uwsgi-vassals.service', DEBIAN_EMPEROR]
PROPERTIES = ['Id', 'LoadState', 'FragmentPath', 'ActiveState', 'MainPID', 'NeedDaemonReload', 'UnitFileState', 'ControlGroup']


def read_release(text):
    """(whether it is Debian or made of Debian, its name, its major version) by the text of os-release; 0 for testing, which has none."""
    values = {}
    for line in text.splitlines():
        key, equals, value = line.partition('=')
        if equals:
            values[key.strip()] = value.strip().strip('"\'')
    major = re.match(r'\d+', values.get('VERSION_ID', ''))
    return 'debian' in [values.get('ID')] + values.get('ID_LIKE', '').split(), values.get('ID', 'linux'), int(major.group()) if major else 0


def describe_unit(shown):
    """A unit, of the properties that `systemctl show` has printed."""
    return dict(
        there=shown.get('LoadState', 'not-found') != 'not-found',
        masked=shown.get('LoadState') == 'masked',
        path=shown.get('FragmentPath', ''),
        active=shown.get('ActiveState') == 'active',
        pid=int(shown.get('MainPID') or 0) or None,
        enabled=shown.get('UnitFileState') == 'enabled',
        unread=shown.get('NeedDaemonReload') == 'yes',
    )


def is_leftover(name, found):
    """Whether something in the runtime directory may not be left there, by its name and its os.lstat().

    It is what root would write to, hang at or stumble over: files that are not root's or have a second name. Sockets and fifos are none:
    those of what runs since an older release are no root's either, so nothing tells them from others, and root writes to no socket.
    """
    kind = stat.S_IFMT(found.st_mode)
    if found.st_uid != 0 and (name.endswith('.pid') or name.endswith('.socket') and kind != stat.S_IFSOCK or kind not in (stat.S_IFSOCK, stat.S_IFIFO)):
        return True
    return kind == stat.S_IFREG and found.st_nlink > 1


def find_leftovers():
    """The paths of what the role removes from the runtime directory and that of the logs.

    Nothing but directories is left in that of applications' own ones, and no link of others among the logs, which root writes.
    """

    def look(directory, odd):
        for name in [] if os.path.islink(directory) else sorted(entries(directory)):
            path = '%s/%s' % (directory, name)
            try:
                found = os.lstat(path)
            except OSError:
                continue
            if not (path == OWN_DIRS and stat.S_ISDIR(found.st_mode)) and odd(name, found):
                yield path

    return (
        list(look(RUN_DIR, is_leftover))
        + list(look(OWN_DIRS, lambda dummy, found: not stat.S_ISDIR(found.st_mode)))
        + list(look(LOGS, lambda dummy, found: stat.S_ISLNK(found.st_mode) and found.st_uid != 0))
    )


def _owner(path):
    return os.stat(path).st_uid


def find_acls():
    """The paths of what has an ACL in the runtime directory, by which others get at it or at what is made there: the directories, and with one also sockets.

    The owner of a socket alone lets whom he likes to that.
    The directory of the logs counts as long as it is another's: one that root's has, root has given it.
    """
    paths = [LOGS] if os.path.isdir(LOGS) and _owner(LOGS) != 0 else []
    paths += [RUN_DIR] + ['%s/%s' % (RUN_DIR, name) for name in sorted(entries(RUN_DIR))]
    found = [path for path in paths if not os.path.islink(path) and (has_acl(path) or has_acl(path, 'default'))]
    return found if any(map(os.path.isdir, found)) else []


def describe_file(path, checksum):
    """A file or directory in one line, to be compared: its kind, owner and group by number, mode, and of a file its SHA-1."""
    try:
        found = os.stat(path)
    except OSError:
        return 'nothing'
    what = '%d:%d %04o' % (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
    if stat.S_ISDIR(found.st_mode):
        return 'directory ' + what
    if os.path.islink(path):
        return 'link'
    return 'file %s %s' % (what, checksum(path)) if stat.S_ISREG(found.st_mode) else 'special'


def find_plugins():
    """The names of the plugins that uWSGI finds."""
    return sorted(entry[: -len('_plugin.so')] for entry in entries(PLUGINS) if entry.endswith('_plugin.so'))


def find_upstreams():
    """The names of nginx's upstreams that are not the role's, None without nginx."""
    if not os.access(NGINX, os.X_OK):
        return None
    found = set()
    for start in NGINX_FILES:
        for path, text in find_texts(start):
            if os.path.basename(path) != NGINX_OWN:
                found.update(re.findall(r'^[ \t]*upstream[ \t]+([^\s{]+)', text, re.MULTILINE))
    return sorted(found)


def newer_than_emperor():
    """Of the files that the Emperor has read when it started, those that are newer."""
    try:
        started = os.stat(EMPEROR_DIR).st_mtime
    except OSError:
        return []
    return [path for path in EMPEROR_FILES if os.path.exists(path) and os.stat(path).st_mtime > started]


def older_than_units(vassals):
    """The names of the vassals, as describe_all() has them, that systemd has run since before their units were written."""
    written = [os.stat(path).st_mtime for path in (SERVICE, SOCKET) if os.path.exists(path)] if supervises() else []
    ages = dict((one['name'], _processes.age(one['pid'])) for one in vassals if one['pid'])
    return sorted(name for name, age in ages.items() if written and age is not None and time.time() - age < max(written))


def first_word(text, number=0):
    return (text.split() or [''] * (number + 1))[number]


def describe_host(run_command, paths, checksum, warn):
    """All that the module uwsgi_host_info returns.

    paths: of the files and directories to describe. checksum: a function that returns a file's SHA-1. warn: is called with a sentence for
    whatever could not be looked at.
    """
    debian, name, major = read_release(to_native(_processes.read('/etc/os-release') or b''))
    result = dict(
        debian=debian,
        release=dict(id=name, major=major),
        init=to_native(_processes.read('/proc/1/comm') or b'').strip(),
        python=dict(executable=sys.executable, major=sys.version_info[0]),
        systemd=None,
    )
    if not os.path.isdir('/run/systemd/system'):
        return result
    run_command = bounded(run_command, SYSTEMCTL)
    command = ['systemctl', 'show']
    for item in PROPERTIES:
        command += ['-p', item]
    shown = blocks(run_command(command + UNITS + [other for other in OTHERS if other not in UNITS])[1])
    served = sorted(unit['Id'] for unit in shown[len(UNITS) :] if unit.get('ActiveState') == 'active')
    layout = dict((option, spec['default']) for option, spec in layout_spec().items())
    host = find_host(run_command, layout)
    vassals = describe_all(host, warn)['vassals'] if host.supervisor.pid else []
    result.update(
        systemd=int(re.sub(r'\D.*', '', first_word(run_command(['systemctl', '--version'])[1], 1)) or 0),
        uwsgi=first_word(run_command([UWSGI, '--version'])[1]) if os.access(UWSGI, os.X_OK) else None,
        logrotate=os.access(LOGROTATE, os.X_OK),
        plugins=find_plugins(),
        emperor=dict(describe_unit(shown[0]), newer=newer_than_emperor()),
        watcher=describe_unit(shown[1]),
        debians_emperor=describe_unit(shown[2])['active'],
        served=[unit for unit in served if fnmatch.fnmatch(unit, 'uwsgi-app@*')],
        supervisor='systemd' if supervises() else 'emperor',
        daemons=sorted(find_daemons(shown[0])),
        upstreams=find_upstreams(),
        available=sorted(map(to_native, host.files.available())),
        linked=sorted(map(to_native, host.files.names(host.files.enabled_dir))),
        vassals=vassals,
        outdated=older_than_units(vassals),
        leftovers=find_leftovers(),
        acls=find_acls(),
        files=dict((path, describe_file(path, checksum)) for path in paths),
    )
    return result
