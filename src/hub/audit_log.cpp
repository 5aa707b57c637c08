#include "hub/audit_log.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"

#include <array>
#include <cstdint>
#include <utility>

#include <fmt/format.h>
#include <nettle/sha2.h>

namespace hal::hub {

namespace {

/** Lines that wait; with more they are written at once. */
constexpr std::size_t max_entries = 256;
/** Of the arguments, hashed: large ones shall not hold up the loop. */
constexpr std::size_t max_hashed_bytes = std::size_t{64} << 10;
constexpr std::size_t max_text_bytes = 4096;
constexpr std::size_t max_tool_bytes = 128;

void write(const AuditEntry& entry) {
  const auto& subject = *entry.subject;
  const auto tool = text::printable(entry.tool, max_tool_bytes);
  const fmt::format_int owner(subject.owner);
  const fmt::format_int microseconds(entry.duration.count());
  log::info({{names::field_message_id, names::message_id_tool_called},
             {names::field_worker, subject.worker},
             {names::field_owner, {owner.data(), owner.size()}},
             {names::field_server, subject.server},
             {names::field_session, subject.session},
             {names::field_tool, tool},
             {names::field_outcome, entry.outcome},
             {names::field_duration, {microseconds.data(), microseconds.size()}},
             {names::field_arguments, entry.arguments}},
            "{}{} called {} of server {}: {} after {}.{:03} ms", subject.worker.empty() ? "the daemon" : "worker ",
            subject.worker, tool, subject.server, entry.outcome, entry.duration.count() / 1000,
            entry.duration.count() % 1000);
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
  sha256_ctx context;
  std::array<std::uint8_t, SHA256_DIGEST_SIZE> digest;
  nettle_sha256_init(&context);
  nettle_sha256_update(&context, hashed.size(), reinterpret_cast<const std::uint8_t*>(hashed.data()));
  nettle_sha256_digest(&context, digest.size(), digest.data());
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hex = "sha256:" + std::string(2 * digest.size(), '\0');
  char* at = hex.data() + hex.size() - 2 * digest.size();
  for (const auto byte : digest) {
    *at++ = digits[byte >> 4U];
    *at++ = digits[byte & 15U];
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
  for (const auto& entry : entries_) {
    write(entry);
  }
  entries_.clear();
}

}  // namespace hal::hub
