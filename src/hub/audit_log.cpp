#include "hub/audit_log.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <openssl/evp.h>

namespace hal::hub {

namespace {

/** Lines that wait; with more they are written at once. */
constexpr std::size_t max_entries = 1024;
/** Of the arguments, hashed: large ones shall not hold up the loop. */
constexpr std::size_t max_hashed_bytes = std::size_t{64} << 10;
constexpr std::size_t max_text_bytes = 4096;
constexpr std::size_t max_tool_bytes = 128;

void write(const AuditEntry& entry) {
  const auto tool = text::printable(entry.tool, max_tool_bytes);
  const auto who = entry.worker.empty() ? "the daemon" : "worker " + entry.worker;
  log::info({{names::field_message_id, names::message_id_tool_called},
             {names::field_worker, entry.worker},
             {names::field_owner, fmt::to_string(entry.owner)},
             {names::field_server, entry.server},
             {names::field_session, entry.session},
             {names::field_tool, tool},
             {names::field_outcome, entry.outcome},
             {names::field_duration, fmt::to_string(entry.duration.count())},
             {names::field_arguments, entry.arguments}},
            "{} called {} of server {}: {} after {:.3f} ms", who, tool, entry.server, entry.outcome,
            static_cast<double>(entry.duration.count()) / 1000.0);
}

}  // namespace

std::string audit_arguments(link::Audit audit, std::string_view arguments) {
  if (arguments.empty() || audit == link::Audit::off) {
    return {};
  }
  if (audit == link::Audit::arguments) {
    return text::printable(arguments, max_text_bytes);
  }
  const auto hashed = arguments.substr(0, max_hashed_bytes);
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int size = 0;
  if (EVP_Digest(hashed.data(), hashed.size(), bytes.data(), &size, EVP_sha256(), nullptr) != 1) {
    return "sha256:unavailable";
  }
  std::string hex = "sha256:";
  for (unsigned int i = 0; i < size; ++i) {
    hex += fmt::format("{:02x}", bytes[i]);
  }
  return hashed.size() == arguments.size() ? hex : fmt::format("{}:{}", hex, arguments.size());
}

AuditLog::AuditLog(event::Loop& loop)
    : flush_(
          loop, "audit", [this] { flush(); }, event::Priority::idle) {}

AuditLog::~AuditLog() {
  flush();
}

void AuditLog::add(AuditEntry entry) {
  entries_.push_back(std::move(entry));
  if (entries_.size() >= max_entries) {
    return flush();
  }
  flush_.schedule();
}

void AuditLog::flush() {
  for (const auto& entry : std::exchange(entries_, {})) {
    write(entry);
  }
}

}  // namespace hal::hub
