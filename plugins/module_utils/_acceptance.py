# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The one rule by which a vassal that runs is said to accept requests. Pure."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

# What a connection to one of a vassal's sockets came to.
UNASKED = 'unasked'  # nobody connected: its configuration names no socket, or who asks does not want to connect
REFUSED = 'refused'  # there is no socket, or it is somebody else's
QUEUED = 'queued'  # the queue of its socket is full
CONNECTED = 'connected'  # no worker has taken the connection yet
TAKEN = 'taken'  # a worker has taken the connection


def accepts(told, asleep, connection, settled, change=None):
    """Whether a vassal accepts requests.

    told: what the Emperor's stats say, None where there are none.
    asleep: whether it makes its workers when somebody connects, and has none.
    connection: one of the states above.
    settled: returns whether a worker is out of its first instants; it is only called where that counts.
    change: what was asked of the vassal, 'start', 'restart' or 'reload'; None where it is left as it is.
    """
    if asleep and change is None:
        # a connection would wake it
        return True
    if told is False and not asleep or connection in (REFUSED, QUEUED):
        return False
    if connection == TAKEN:
        return True
    if connection == UNASKED:
        return told is not None or settled()
    if change is None:
        # it may be busy
        return bool(told) or settled()
    # the stats of one that reloads still tell of before
    return bool(told) and not asleep and change != 'reload'
