# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark's application: it works for a millisecond, or under /slow for three seconds, of which it tells the begin."""

import time


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/slow':
        yield b'begun\n'
        time.sleep(3)
    else:
        time.sleep(0.001)
    yield b'done\n'
