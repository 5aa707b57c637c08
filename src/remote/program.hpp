#pragma once

#include "base/unique_fd.hpp"
#include "curl/multi.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"
#include "remote/client.hpp"
#include "remote/outlet.hpp"
#include "remote/settings.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace hal::remote {

/** hal9000-remote: the first line of stdin has the settings, all others are the client's. Ends the loop. */
class Program {
 public:
  /** `ca_file`: certificates to trust; empty: the system's. */
  Program(event::Loop& loop, UniqueFd in, UniqueFd out, std::string ca_file);

 private:
  void on_line(std::string_view line);
  void begin(std::string_view settings);
  void end();

  event::Loop& loop_;
  std::string ca_file_;
  Settings settings_;
  curl::Multi multi_;
  Outlet outlet_;
  std::optional<Client> client_;
  event::Timer settings_deadline_;
  event::Signal term_;
  event::Signal interrupt_;
};

}  // namespace hal::remote
