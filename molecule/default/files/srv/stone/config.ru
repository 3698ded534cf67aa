# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A Rack application that tells how it is run. An object, as uWSGI takes no lambda from Rack 3 (Debian 13); ASCII only,
# as Ruby inside uWSGI reads nothing else, whatever the locale.
require 'json'

class Stone
  def call(_env)
    facts = { greeting: "Gr\u00fc\u00dfe vom Stein", uid: Process.uid, master: Process.ppid, pid: Process.pid }
    [200, { 'content-type' => 'application/json; charset=utf-8' }, [JSON.generate(facts)]]
  end
end

run Stone.new
