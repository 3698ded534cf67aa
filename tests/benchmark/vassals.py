# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints variables with so many small applications: vassals.py COUNT."""

import json
import sys

CONFIG = {'plugin': 'python3', 'wsgi-file': '/srv/benchmark/app.py', 'workers': 1}

vassals = dict(('small-%d' % number, {'config': CONFIG}) for number in range(1, int(sys.argv[1]) + 1))
print(json.dumps({'emperor_plugins': ['python3'], 'emperor_vassals': vassals}))
