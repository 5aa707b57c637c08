#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "worker/runtime.hpp"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/** The bodies of the Engine API's requests and answers. Pure; every error is Errc::protocol or Errc::limit. */
namespace hal::engine {

using Labels = std::vector<std::pair<std::string, std::string>>;

/** "1.41" */
struct ApiVersion {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;

  friend auto operator<=>(const ApiVersion&, const ApiVersion&) = default;
  [[nodiscard]] std::string text() const;
};
[[nodiscard]] Result<ApiVersion> read_api_version(std::string_view text);

/** What this client speaks: one-shot statistics came with the oldest; nothing it uses changed up to the newest. */
inline constexpr ApiVersion oldest_api{1, 41};
inline constexpr ApiVersion newest_api{1, 51};

/** The answer to /version. */
struct VersionAnswer {
  std::string engine;
  ApiVersion newest;
  /** 0.0 if the engine does not say. */
  ApiVersion oldest;
};
[[nodiscard]] Result<VersionAnswer> read_version(std::string_view body);

/** The version to speak with an engine that speaks `oldest` to `newest`; Errc::unavailable if there is none. */
[[nodiscard]] Result<ApiVersion> negotiate(const VersionAnswer& engine);

/** Adds what /info says to `info`. */
[[nodiscard]] Result<void> read_info(std::string_view body, worker::EngineInfo& info);

/**
 * The parent of a container's control group, by the engine's driver of control groups. systemd takes the name of a
 * slice and makes it. Without it the group is made by path, one below the slice's own: systemd would take controllers
 * away from the groups right below a slice that it does not know. Empty: a driver that has no parents.
 */
[[nodiscard]] std::string cgroup_parent(std::string_view driver, std::string_view slice_path, std::string_view slice);

/** What /containers/create takes. All containers get the same confinement; it is not for the caller to choose. */
[[nodiscard]] std::string create_body(const worker::ContainerSpec& spec, const std::string& cgroup_parent = {});
[[nodiscard]] std::string update_body(const worker::LimitChange& change);
/** The JSON of a `filters` parameter that wants all of these labels. */
[[nodiscard]] std::string label_filter(const Labels& labels);

struct InspectAnswer {
  worker::ContainerInfo info;
  /** Its log is one raw stream instead of frames. */
  bool terminal = false;
};
[[nodiscard]] Result<InspectAnswer> read_inspect(std::string_view body);
[[nodiscard]] Result<std::vector<ContainerId>> read_list(std::string_view body);
[[nodiscard]] Result<worker::ContainerUsage> read_usage(std::string_view body);
[[nodiscard]] Result<worker::ImageInfo> read_image(std::string_view body);
/** The "Id" of what was made. */
[[nodiscard]] Result<std::string> read_id(std::string_view body);

/** What an answer that is an error says, for people; never empty. */
[[nodiscard]] std::string error_text(std::string_view body);

/**
 * The error of an answer by its status; `what` was being tried, `conflict` is what 409 means there. Nothing for 2xx
 * and for 304 (it is so already).
 */
[[nodiscard]] Result<void> check_status(int status, std::string_view body, std::string_view what, Errc conflict);

}  // namespace hal::engine
