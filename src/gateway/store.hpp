#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <vector>

/** The service manager's descriptor store (FileDescriptorStoreMax= in the unit): what a gateway leaves to the next. */
namespace hal::gateway::store {

/** Whether there is a service manager. Whether it keeps anything shows only in what the next one gets. */
[[nodiscard]] bool available();

/** The manager has it when this returns; it is passed to our successor, or closed where there will be none. */
[[nodiscard]] Result<void> put(const UniqueFd& kept);

/** What the manager passed us at our start. */
struct Passed {
  std::vector<UniqueFd> sockets;
  /** What put() has left; unset: nothing. The manager keeps it no more, so that nobody stumbles over it twice. */
  UniqueFd kept;
};
[[nodiscard]] Passed take();

}  // namespace hal::gateway::store
