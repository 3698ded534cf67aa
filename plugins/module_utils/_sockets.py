# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The sockets of the Emperor and its vassals: whose they are, whether a worker takes connections, what it answers.

Whoever may write /run/uwsgi can put a socket of his own in the place of another, so each connection asks the kernel who
listens at its other end.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import json
import os
import re
import socket
import struct
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils._acceptance import CONNECTED, QUEUED, REFUSED, TAKEN
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes, to_native, to_text

_monotonic = getattr(time, 'monotonic', time.time)
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
_ENOUGH = 4096  # bytes of an answer
# How much a stats socket may say, in bytes, and within how many seconds. An Emperor says some hundred bytes of each vassal, and a
# vassal a thousand of each worker.
_STATS = 1 << 23
_STATS_TIME = 5.0
_DIGITS = 30
# A ping in the uwsgi protocol: a message without variables for a plugin that is part of uWSGI's core; the answer is a message, too.
PING = struct.pack('<BHB', 100, 0, 0)


def _open(address):
    """An unconnected socket, and what connect() wants, for PATH, @ABSTRACT, HOST:PORT or :PORT."""
    if address.startswith(('/', '@')):
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), '\0' + address[1:] if address.startswith('@') else address
    host, dummy, port = address.rpartition(':')
    host = host.strip('[]')
    if host in ('', '0.0.0.0', '*'):
        host = '127.0.0.1'
    elif host == '::':
        host = '::1'
    target = (host, int(port))
    return socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_STREAM), target


def _listener(connection):
    """The PID that called listen() on the other end of a UNIX connection, 0 where the kernel does not tell."""
    if connection.family != socket.AF_UNIX:
        return 0
    return struct.unpack('3i', connection.getsockopt(socket.SOL_SOCKET, getattr(socket, 'SO_PEERCRED', 17), 12))[0]


def listener(path):
    """The PID that called listen() on a socket, 0 where somebody listens and is not told, None where nobody does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(path)
        return _listener(connection)
    except (IOError, OSError) as error:
        # a full queue is somebody's
        return 0 if error.errno in _UNDER_WAY else None
    finally:
        connection.close()


def holders(path, pids, most=10, seconds=1.0):
    """Which of some processes hold a UNIX socket of that path open and listen, as far as /proc shows them: `most` PIDs at most.

    Anybody can add others: an abstract socket may have a line feed in its name, and with it lines of /proc/net/unix.
    seconds: when to stop looking, as any user can have thousands of processes with thousands of files.
    """
    end = time.time() + seconds
    with open('/proc/net/unix', 'rb') as handle:
        lines = [line.rstrip(b'\n').split(None, 7) for line in handle]
    # the fourth word has the bit of a socket that listens, the seventh is the inode
    wanted = set('socket:[%s]' % to_native(line[6]) for line in lines if line[7:] == [to_bytes(path)] and line[3] == b'00010000')
    found = []
    for pid in pids if wanted else []:
        directory = '/proc/%d/fd' % pid
        if len(found) == most or time.time() > end:
            break
        try:
            entries = os.listdir(directory)
        except OSError:
            # it has ended, or it is hidden
            continue
        for entry in entries:
            try:
                if os.readlink('%s/%s' % (directory, entry)) in wanted:
                    found.append(pid)
                    break
            except OSError:
                # it has been closed
                continue
    return sorted(found)


class Connection(object):
    """One connection to a vassal, taken on by poll() without ever waiting.

    With a message, it is sent and what comes back is kept. Without one the connection is closed for writing at once: a
    worker that takes it hangs up, and no request is made and no line is logged. `problem` says why there is no talking.
    Until it is `connected` (the queue of a listener may be full) nobody knows who listens.
    """

    def __init__(self, address, owners, message=None):
        self.address = address
        self.over = False
        self.problem = None
        self.foreign = False  # whether somebody else listens
        self.answer = b''
        self._owners = owners
        self._rest = message
        self.connected = False
        self._connection = None
        try:
            self._connection, self._target = _open(address)
            self._connection.setblocking(False)
        except (IOError, OSError, ValueError) as error:
            self._end('%s can not be reached: %s' % (address, to_native(error)))

    def poll(self):
        """Goes on as far as it can; True once it is over."""
        if not self.over:
            try:
                self._go_on()
            except (IOError, OSError) as error:
                if error.errno not in _UNDER_WAY:
                    self._end('%s: %s' % (self.address, os.strerror(error.errno) if error.errno else to_native(error)))
        return self.over

    def _go_on(self):
        if not self.connected:
            code = self._connection.connect_ex(self._target)
            if code not in (0, errno.EISCONN):
                raise OSError(code, os.strerror(code))
            pid = _listener(self._connection)
            if pid and pid not in self._owners:
                self.foreign = True
                self._end('process %d, which is not its own, listens on %s' % (pid, self.address))
                return
            self.connected = True
            if self._rest is None:
                self._connection.shutdown(socket.SHUT_WR)
        while self._rest:
            self._rest = self._rest[self._connection.send(self._rest) :]
        while len(self.answer) < _ENOUGH:
            data = self._connection.recv(_ENOUGH)
            if not data:
                break
            self.answer += data
        self._end()

    @property
    def state(self):
        """What it came to, for accepts()."""
        return REFUSED if self.problem else TAKEN if self.over else CONNECTED if self.connected else QUEUED

    def _end(self, problem=None):
        self.problem = problem
        self.over = True
        self.close()

    def close(self):
        if self._connection is not None:
            self._connection.close()

    @property
    def status(self):
        """The HTTP status of the answer, None where it is none."""
        found = re.match(b'\\S+ +([0-9]{3})(?![0-9])', self.answer)
        return int(found.group(1)) if found else None


def get_request(path, host):
    """The message of a GET in the uwsgi protocol."""
    path, dummy, query = path.partition('?')
    variables = [
        ('REQUEST_METHOD', 'GET'), ('REQUEST_URI', path + (query and '?' + query)), ('PATH_INFO', path),
        ('QUERY_STRING', query), ('SCRIPT_NAME', ''), ('SERVER_PROTOCOL', 'HTTP/1.1'), ('HTTP_HOST', host),
        ('SERVER_NAME', host), ('SERVER_PORT', '80'), ('REMOTE_ADDR', '127.0.0.1'), ('CONTENT_LENGTH', ''),
        ('CONTENT_TYPE', ''), ('HTTP_USER_AGENT', 'uwsgi_vassal probe'),
    ]  # fmt: skip
    body = b''
    for variable in variables:
        for item in map(to_bytes, variable):
            body += struct.pack('<H', len(item)) + item
    return struct.pack('<BHB', 0, len(body), 0) + body


def read_stats(address, pid):
    """The JSON document of a stats socket of the process, None where there is none that is its own, or it says too much or too slowly."""
    try:
        connection, target = _open(address)
    except (IOError, OSError, ValueError):
        return None
    end = _monotonic() + _STATS_TIME
    try:
        connection.settimeout(_STATS_TIME)
        connection.connect(target)
        if _listener(connection) not in (0, pid):
            return None
        data, size = [], 0
        while True:
            part = connection.recv(65536)
            if not part:
                break
            data.append(part)
            size += len(part)
            left = end - _monotonic()
            if size > _STATS or left <= 0:
                return None
            connection.settimeout(left)
    except (IOError, OSError):
        return None
    finally:
        connection.close()
    data = b''.join(data)
    if data.startswith(b'HTTP') and b'\r\n\r\n' in data:
        data = data.split(b'\r\n\r\n', 1)[1]
    try:
        # a number of many digits takes Python minutes
        stats = json.loads(to_text(data, errors='surrogate_or_replace'), parse_int=lambda word: int(word) if len(word) < _DIGITS else None)
    except (ValueError, RuntimeError):
        # brackets in brackets are too deep for Python at some point
        return None
    return stats if isinstance(stats, dict) and stats.get('pid') == pid else None
