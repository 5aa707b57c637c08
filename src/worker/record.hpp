#pragma once

#include "base/result.hpp"
#include "worker/worker.hpp"

#include <string>
#include <vector>

/** What the engine does not know about a worker, kept in `state_dir/worker/ID.json` from its claim to its removal. */
namespace hal::worker {

[[nodiscard]] std::string to_json(const Worker& worker);
[[nodiscard]] Result<Worker> worker_from_json(std::string_view text);

/** Replaces the record's file; the old one stays whole if this fails. */
[[nodiscard]] Result<void> save_record(const std::string& folder, const Worker& worker);
/** Removing what is gone succeeds. */
Result<void> remove_record(const std::string& folder, const WorkerId& id);
/** All readable records; one that is not is logged and left where it is. */
[[nodiscard]] std::vector<Worker> load_records(const std::string& folder);

}  // namespace hal::worker
