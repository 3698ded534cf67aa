# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A WSGI application that tells how it is run; /slow/N takes N seconds for it."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import io
import json
import os
import time

import uwsgi


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path.startswith('/slow/'):
        end = time.time() + int(path[len('/slow/') :])
        while time.time() < end:
            time.sleep(0.1)  # under Python 2 a signal ends it
    start_response('200 OK', [('Content-Type', 'application/json; charset=utf-8')])
    facts = dict(
        greeting=os.environ.get('GREETING'),
        title=os.environ.get('TITLE'),
        harakiri='%s' % uwsgi.opt.get('harakiri'),
        uid=os.getuid(),
        encoding=io.open(os.devnull).encoding,
        workers=uwsgi.numproc,
        master=uwsgi.masterpid(),
        pid=os.getpid(),
    )
    return [json.dumps(facts).encode('utf-8')]
