# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What brings links, units and vassals into agreement: two truth tables, one for the units of an Emperor's vassals, one for what systemd runs."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

# The states of a unit that is at work, which is left alone.
BUSY = ('activating', 'deactivating', 'reloading')
# What the state of a unit is called here that systemd is kept from having.
MASKED = 'masked'


def decide(linked, enabled, agreed, up, down, crashing, states, rises=True, falls=True, renewed=frozenset()):
    """Compares the vassals of an Emperor with their units.

    Returns (acts, agreed): pairs of an act and a name that bring systemd up to date, and the names on which link and unit then agree.

    linked, enabled, agreed: the names with a link to a file, those that systemctl calls enabled, and those of the last agreement.
    up, down, crashing: the names that accept requests, that have not done so for a while, and of those the ones that the Emperor
    starts again and again.
    states: the ActiveState of the units that systemd has loaded, by name, or MASKED.
    rises, falls: whether to tell systemd of what is up now, and of what is not linked any more. While a run of the module is at work
    that is left for later: of hundreds, it costs as much as they need themselves.
    renewed: the names whose link, or that of systemctl's, is another one than that which was agreed on: it went, and was made again.

    The acts: 'enable' and 'disable' for the link of systemctl's; 'start', 'stop' and 'restart' for the unit; 'end' for a vassal whose
    unit systemd has nothing to stop of; 'notice' for a unit to start and 'forget' for one to stop without asking the vassal; 'reset' for
    one that has failed and whose vassal is not enabled any more.
    """
    acts = []
    agreed = set(agreed)
    for name in sorted(linked | enabled | agreed | set(states)):
        state = states.get(name, 'inactive')
        if state in BUSY:
            continue
        if name in renewed:
            agreed.discard(name)
        if state == MASKED:
            if (name in linked) is (name in enabled):
                # that holds when it is not masked any more
                (agreed.add if name in linked else agreed.discard)(name)
            continue
        if name in linked and name not in enabled and name in agreed:
            agreed.discard(name)
            acts.append(('stop' if state == 'active' else 'end', name))
            continue
        if name in enabled and name not in linked and name not in agreed and state != 'failed':
            # a unit that is active has nothing to start: it was told so in the moment in which somebody stopped it
            acts.append(('forget' if state == 'active' else 'start', name))
            continue
        if name in linked:
            if name not in enabled:
                if not rises:
                    continue
                acts.append(('enable', name))
            agreed.add(name)
            if name in up and state != 'active':
                acts.extend([('notice', name)] if rises else [])
            elif name in down and state == 'active' or name in crashing and state == 'inactive':
                acts.append(('restart', name))
        elif falls:
            if state == 'failed' and name in agreed:
                # a start that failed, of what was not enabled, keeps saying why
                acts.append(('reset', name))
            agreed.discard(name)
            if name in enabled:
                acts.append(('disable', name))
            if state == 'active':
                acts.append(('forget', name))
    return acts, agreed


def decide_links(linked, enabled, agreed):
    """Compares links with the units of applications that systemd runs itself.

    Returns (acts, agreed), as decide() does.

    linked, enabled, agreed: as decide() takes them.

    The acts: 'enable' for the unit of a new link, and start it; 'disable' for that of one that went, and stop it; 'link' and 'unlink'
    for the link of a unit that systemctl enabled or disabled, which starts and stops nothing.
    """
    acts = []
    for name in sorted(linked ^ enabled):
        if name in linked:
            acts.append(('unlink' if name in agreed else 'enable', name))
        else:
            acts.append(('disable' if name in agreed else 'link', name))
    return acts, linked & enabled | set(name for act, name in acts if act in ('enable', 'link'))
