# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the benchmark's tables, in Markdown, from the records of one run (callback_plugins/record.py).

table.py RECORDS
"""

import json
import statistics
import sys
import time


class Records:
    def __init__(self, lines):
        self.all = [json.loads(line) for line in lines]

    def select(self, task, kind='task'):
        found = [record for record in self.all if record.get('task') == task and record['kind'] == kind]
        if not found:
            sys.exit('No record of the task "%s": the run did not get there.' % task)
        return found

    def meter(self, measured, **wanted):
        """What meter.py printed of one kind."""
        found = []
        for record in self.all:
            said = record.get('result', {}).get('stdout', '')
            if said.startswith('{"measured": "%s"' % measured):
                said = json.loads(said)
                if all(said[key] == value for key, value in wanted.items()):
                    found.append(said)
        if not found:
            sys.exit('meter.py said nothing of %s %s: the run did not get there.' % (measured, wanted or ''))
        return found

    def seconds(self, task, kind='task'):
        return [record['seconds'] for record in self.select(task, kind)]

    def elapsed(self, task):
        return [record['result']['vassals'][0]['elapsed'] for record in self.select(task, 'item')]


def table(head, rows):
    print('| %s |' % ' | '.join(str(cell) for cell in head))
    print('| --- |%s' % (' ---: |' * (len(head) - 1)))
    for row in rows:
        print('| %s |' % ' | '.join(str(cell) for cell in row))
    print()


def span(values):
    """The median, and where they differ least and most."""
    low, middle, high = ('%.0f' % value for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else '%s (%s to %s)' % (middle, low, high)


def restart(records, how):
    """One row of the first table."""
    loads = records.meter('load', how=how)
    for load, act in zip(loads, records.select('Restart: %s, load' % how)):
        if not load['began'] < act['began'] < load['ended'] - 1:
            sys.exit('%s: it did not begin during the load; the machine is too busy to measure on.' % how)
    act = records.select('Restart: %s, in-flight' % how)[0]
    requests = records.meter('in-flight', how=how)[0]['requests']
    if not [one for one in requests if one['began'] < act['ended'] and one['ended'] > act['began']]:
        sys.exit('%s: no request was in flight; the machine is too busy to measure on.' % how)
    return (
        '%s%s`%s`' % how.rpartition(': '),
        span([load['wrk']['responses'] - load['wrk']['bad'] for load in loads]),
        span([sum(load['wrk'][kind] for kind in ('bad', 'connect', 'read', 'write', 'timeout')) for load in loads]),
        span([1000 * max(load['gaps'], default=0) for load in loads]),
        span([load['wrk']['max_us'] / 1000 for load in loads]),
        'kept' if all(one['kept'] for one in requests) else 'lost',
    )


def main(path):
    with open(path, encoding='utf-8') as lines:
        records = Records(lines)
    begin, end = records.meter('about')[0], records.meter('about')[-1]
    ansible = [record['ansible'] for record in records.all if record['kind'] == 'controller'][0]
    median = statistics.median
    loads = records.meter('load')

    print('# Benchmark of %s\n' % time.strftime('%Y-%m-%d %H:%M', time.localtime(loads[0]['began'])))
    print(
        '%d cores, %.1f GiB of memory, Linux %s. The host is a container of Debian %s with uWSGI %s and Python %s; the\n'
        'controller, on the same machine, has ansible-core %s and reaches it by ssh with pipelining. The load average was\n'
        '%.1f when the measurements began and %.1f when they ended.\n'
        % (begin['cores'], begin['gib'], begin['kernel'], begin['debian'], begin['uwsgi'], begin['python'], ansible, begin['busy'], end['busy'])
    )

    print('## A restart under load\n')
    ways = list(dict.fromkeys(load['how'] for load in loads))
    print(
        '%.0f s of 8 keep-alive connections through nginx to an application with 2 workers that works 1 ms for each request, one\n'
        'restart meanwhile; medians of %d such runs, least and most in brackets. A connection whose request failed tries again at\n'
        'once, so the failures count how long nobody listened, at the speed of the errors of nginx. After `uwsgi --stop` it is luck\n'
        'whether the Emperor sees the end at once or at its next look, up to a second later: the watcher of the units wakes it. The\n'
        'row "on demand" is of `emperor-on-demand-directory`, with which the Emperor opens the socket in the moment in which the\n'
        'application has ended; the rows "under systemd" are of `emperor_supervisor: systemd`. In a run without that load: a request\n'
        'that takes 3 s and is in flight when the restart comes.\n'
        % (statistics.median(load['wrk']['us'] / 1e6 for load in loads), len(loads) // len(ways))
    )
    table(
        ['restart by', 'answered', 'failed', 'nobody listens, ms', 'longest answer, ms', 'request in flight'],
        [restart(records, how) for how in ways],
    )
    print('Whether somebody listens was looked at each millisecond, at the worst after %.0f ms.\n' % (1000 * max(load['pause'] for load in loads)))

    print('## How long one application takes\n')
    print(
        'A WSGI application with one worker; medians of %d, in seconds. Its own start is the time from the execution of uWSGI without\n'
        'the Emperor, with the same configuration, to its first answer. `elapsed` is what the module returns, the time until the\n'
        'application accepts requests; the task is what the user of Ansible waits for.\n' % len(records.meter('start'))
    )
    rows = [('its own start', '%.2f' % median(one['seconds'] for one in records.meter('start')), '')]
    for task, name in (
        ('Enable it', 'enabled, from disabled'),
        ('Restart it', 'restarted'),
        ('Reload it', 'reloaded'),
        ('Disable it', 'disabled'),
    ):
        rows.append((name, '%.2f' % median(records.elapsed(task)), '%.2f' % median(records.seconds(task, 'item'))))
    table(['', '`elapsed`', 'task'], rows)

    print('## A call that has nothing to do\n')
    ping, call = median(records.seconds('Ping', 'item')), median(records.seconds('Enable what is enabled', 'item'))
    table(
        ['medians of %d calls' % len(records.seconds('Ping', 'item')), 'ms'],
        [
            ('`ansible.builtin.ping`', '%.0f' % (1000 * ping)),
            ('`uwsgi_vassal` with `state: enabled`', '%.0f' % (1000 * call)),
            ('difference', '%+.0f' % (1000 * (call - ping))),
        ],
    )

    print('## A call of the program of the units\n')
    call = records.meter('program')[0]
    table(
        ['medians of 40 calls on the host', 'ms'],
        [
            ('`python3 -I -c pass`', '%.0f' % (1000 * call['python'])),
            ('`vassal-units`', '%.0f' % (1000 * call['program'])),
            ('difference', '%+.0f' % (1000 * (call['program'] - call['python']))),
        ],
    )

    print('## Many applications\n')
    print(
        'Seconds for all of them, each a WSGI application with one worker. The loop is one of `ansible.builtin.file` and one of\n'
        '`ansible.builtin.wait_for` for the socket, which is there before the application accepts requests. Links and a signal are\n'
        'what the Emperor needs for the same: all links are set on the host, the Emperor is woken, all applications have answered.\n'
    )
    counts = [one['count'] for one in records.meter('enable')]

    def row(name, value):
        return [name] + ['%.2f' % value(count) for count in counts]

    def task(name):
        return lambda count: sum(records.seconds(name % count))

    table(
        ['applications'] + counts,
        [
            row('enable: `uwsgi_vassal`', task('Enable in one task: %d')),
            row('enable: a loop', lambda count: task('Link in a loop: %d')(count) + task('Wait in a loop: %d')(count)),
            row('enable: links and a signal', lambda count: records.meter('enable', count=count)[0]['seconds']),
            row('nothing to do: `uwsgi_vassal`', lambda count: median(records.seconds('Enable in one task, nothing to do: %d' % count, 'item'))),
            row(
                'nothing to do: a loop',
                lambda count: task('Link in a loop, nothing to do: %d')(count) + task('Wait in a loop, nothing to do: %d')(count),
            ),
            row('disable: `uwsgi_vassal`', task('Disable in one task: %d')),
        ],
    )


if __name__ == '__main__':
    main(sys.argv[1])
