# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A WSGI application that runs where its file has been put beside it, and not under the Emperor of the role."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

if os.path.exists('/etc/uwsgi/emperor.ini'):
    raise RuntimeError('I serve no Emperor')


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'moody']
