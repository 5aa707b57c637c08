#pragma once

#include "event/sources.hpp"
#include "server/supervisor.hpp"

#include <functional>
#include <set>
#include <string>
#include <vector>

namespace hal::server {

/**
 * Tells the supervisor's listener in the next turn of the loop, in order, so that it may call back freely. Changes of
 * one server in one turn are told once, at the end.
 */
class Announcer {
 public:
  using Find = std::function<const Server*(const std::string&)>;
  Announcer(event::Loop& loop, Supervisor::Listener& listener, Find find);

  /** The server is new or has changed. */
  void changed(const std::string& name);
  void removed(const std::string& name);
  /** Anything else; `call` is given the listener. */
  void post(std::function<void(Supervisor::Listener&)> call);

 private:
  void deliver();
  void tell_changes();

  Supervisor::Listener& listener_;
  Find find_;
  /** What the listener knows. */
  std::set<std::string, std::less<>> known_;
  std::set<std::string, std::less<>> changed_;
  std::vector<std::function<void(Supervisor::Listener&)>> calls_;
  event::Defer later_;
};

}  // namespace hal::server
