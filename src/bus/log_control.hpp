#pragma once

#include "bus/authoriser.hpp"

#include <memory>

namespace sdbus {
class IConnection;
}

namespace hal::bus {

/** org.freedesktop.LogControl1: the level of base/log, to be set by root. */
class LogControl {
 public:
  LogControl(sdbus::IConnection& connection, Authoriser& authoriser);
  ~LogControl();
  LogControl(const LogControl&) = delete;
  LogControl& operator=(const LogControl&) = delete;

 private:
  class Adaptor;
  class Setter;
  std::unique_ptr<Adaptor> adaptor_;
  std::unique_ptr<Setter> setter_;
};

}  // namespace hal::bus
