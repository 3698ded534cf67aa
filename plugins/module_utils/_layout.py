# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The options that say where things are on a host; the documentation fragment uwsgi.emperor.layout describes them."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type


def layout_spec():
    return dict(
        unit=dict(default='uwsgi.service'),
        available_dir=dict(type='path', default='/etc/uwsgi/apps-available'),
        enabled_dir=dict(type='path', default='/etc/uwsgi/apps-enabled'),
        defaults=dict(type='path', default='/etc/uwsgi/vassal-default.ini'),
    )
