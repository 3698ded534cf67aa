# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type


class ModuleDocFragment(object):
    DOCUMENTATION = r'''
options:
  supervisor:
    description:
      - Who runs the applications.
      - V(emperor) is uWSGI's Emperor, in O(unit).
      - V(systemd) is systemd itself, by the units C(uwsgi@NAME.service) and C(uwsgi@NAME.socket) that the role
        P(uwsgi.emperor.emperor#role) installs with C(emperor_supervisor=systemd). An application is enabled when both its link is there and its
        unit is enabled.
      - V(auto) is V(systemd) where the host has those units, C(uwsgi.service) is masked, as the role leaves it, and the other options of
        the layout have their defaults; otherwise V(emperor).
    type: str
    choices: [auto, emperor, systemd]
    default: auto
    version_added: 0.1.0
  unit:
    description:
      - The systemd unit that runs the Emperor.
    type: str
    default: uwsgi.service
  available_dir:
    description:
      - The directory of the applications' files.
    type: path
    default: /etc/uwsgi/apps-available
  enabled_dir:
    description:
      - The directory of links that the Emperor watches.
      - It may be O(available_dir) itself, as where Debian's C(uwsgi-emperor) has plain files in C(/etc/uwsgi-emperor/vassals). There is
        no link then, the file itself is what is enabled, and C(disabled) is refused, since it would lose the file.
    type: path
    default: /etc/uwsgi/apps-enabled
  defaults:
    description:
      - The file with the vassals' defaults. It is needed only while no Emperor runs; a running one is asked for it.
    type: path
    default: /etc/uwsgi/vassal-default.ini
'''
