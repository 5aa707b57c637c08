#pragma once

#include "worker/runtime.hpp"
#include "worker/settings.hpp"
#include "worker/worker.hpp"

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>

/** What each kind of container is made from. Pure. */
namespace hal::worker {

/** The label of ChromaDB's container that names the namespace holder it was made for. */
inline constexpr const char label_parent[] = "org.hal9000.parent";

/** The folder of a worker's sockets on the host. */
[[nodiscard]] std::string run_folder(const Settings& settings, const WorkerId& id);

/**
 * A worker's container, always without a project. `run_as`: the owner's uid and gid where ids cannot be mapped; `user`
 * otherwise is the image's. `parent` is unused in an isolated network.
 */
[[nodiscard]] ContainerSpec worker_spec(const Settings& settings, const Worker& worker, const ContainerId& parent,
                                        std::optional<std::pair<uid_t, gid_t>> run_as);

[[nodiscard]] ContainerSpec holder_spec(const Settings& settings);

/** ChromaDB in the holder's namespace, with its data in `data_dir`, running as that folder's owner. */
[[nodiscard]] ContainerSpec chroma_spec(const Settings& settings, const ContainerId& holder,
                                        const std::string& data_dir, uid_t uid, gid_t gid);

}  // namespace hal::worker
