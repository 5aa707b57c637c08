#pragma once

#include "base/archive.hpp"
#include "base/strong_id.hpp"
#include "hub/client.hpp"
#include "hub/server.hpp"

#include <string>

namespace hal::hub {

/** A worker's client of one server, whatever carries its messages. Owned by the hub. */
class Session : public Client {
 public:
  [[nodiscard]] virtual const WorkerId& worker() const = 0;
  /** Null before it is known, and after detach(). */
  [[nodiscard]] virtual Server* server() const = 0;
  /** The server is being destroyed: it is not called any more, and the session ends. */
  virtual void detach(const std::string& reason) = 0;
  /** Whether another gateway could go on with it. */
  [[nodiscard]] virtual bool can_be_kept() const { return false; }
  /** Where it can. */
  virtual void save(Saver&) {}
};

}  // namespace hal::hub
