# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks nginx for each application named, ten times a second, and writes the longest time without an answer to /run/watch."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json
import sys
import time

try:
    from http.client import HTTPConnection
except ImportError:
    from httplib import HTTPConnection


def answers(name):
    try:
        connection = HTTPConnection('127.0.0.1', timeout=5)
        connection.request('GET', '/', headers={'Host': name + '.localhost'})
        return connection.getresponse().status in (200, 302)
    except (IOError, OSError):
        return False
    finally:
        connection.close()


last = dict((name, time.time()) for name in sys.argv[1:])
longest = dict((name, 0) for name in last)
while True:
    for name in last:
        good = answers(name)
        now = time.time()
        longest[name] = max(longest[name], now - last[name])
        if good:
            last[name] = now
    with open('/run/watch', 'w') as handle:
        json.dump(longest, handle)
    time.sleep(0.1)
