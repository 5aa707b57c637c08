#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace hal::bus {

/** Who may call a method. Root may always. */
enum class Access {
  anyone,
  /** Whom polkit gives `action`. */
  action,
  /** A worker's owner, or who began a job, with manage_own_worker, others with `action`. */
  owner_or_action,
  /** Anyone, for what is their own, and whom polkit gives `action` unasked for all; Verdict::all tells. */
  own_or_all,
  /** Nobody else than root, whatever polkit says. */
  root,
};

struct AccessRule {
  std::string_view interface;
  /** A method, or a property that is set. */
  std::string_view member;
  Access access = Access::root;
  std::string_view action;
};

inline constexpr std::string_view manage_own_worker = "org.hal9000.manage-own-worker";

/** Every rule there is; what has none is refused. */
[[nodiscard]] std::span<const AccessRule> access_rules();
[[nodiscard]] std::optional<AccessRule> access_rule(std::string_view interface, std::string_view member);

}  // namespace hal::bus
