#include "hub/upstream.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/batch.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Of a line of garbage, for the log. */
constexpr std::size_t shown_bytes = 160;

}  // namespace

Upstream::Upstream(event::Loop& loop, std::string server, InstanceId instance, UniqueFd to_server, UniqueFd from_server,
                   Listener& listener)
    : server_(std::move(server)),
      instance_(instance),
      listener_(listener),
      loop_(loop),
      channel_(loop, std::move(from_server), std::move(to_server), fmt::format("mcp:{}", server_),
               {.on_line = [this](std::string_view line) { on_line(line); },
                .on_overlong =
                    [this](std::size_t bytes) {
                      log::warning({{names::field_server, server_}}, "a line of more than {} bytes was dropped", bytes);
                      listener_.on_server_overlong(bytes);
                    },
                .on_closed = [this](const Error&) { listener_.on_server_closed(); },
                .on_drained = [this] { listener_.on_server_drained(); },
                .on_broken = [this] { listener_.on_server_deaf(); }}) {}

Result<void> Upstream::send(Parts message) {
  return channel_.write_line(message);
}

Result<void> Upstream::send(std::string_view message) {
  return channel_.write_line(message);
}

void Upstream::hold(bool held) {
  if (held) {
    channel_.pause();
  } else {
    channel_.resume();
  }
}

void Upstream::save(Saver& archive) const {
  archive.number(instance_.value);
  channel_.save(archive);
}

std::unique_ptr<Upstream> Upstream::load(Loader& archive, event::Loop& loop, std::string server, Listener& listener) {
  const InstanceId instance{archive.number()};
  auto [from_server, to_server] = io::LineChannel::load_ends(archive);
  if (!to_server) {
    archive.fail();
    return nullptr;
  }
  auto upstream = std::make_unique<Upstream>(loop, std::move(server), instance, std::move(to_server),
                                             std::move(from_server), listener);
  upstream->channel_.load(archive);
  return upstream;
}

void Upstream::on_line(std::string_view line) {
  const auto message = jsonrpc::scan(line);
  if (message.kind == jsonrpc::Kind::batch) {
    return on_batch(line);
  }
  on_message(message, line);
}

void Upstream::on_message(const jsonrpc::Envelope& message, std::string_view line) {
  if (message.kind == jsonrpc::Kind::not_json || message.kind == jsonrpc::Kind::invalid ||
      message.kind == jsonrpc::Kind::batch) {
    return garbage(line, message.problem);
  }
  listener_.on_server_message(message, line);
}

/** Whatever revision it speaks: taken apart, it can be routed, and its answers are waited for. */
void Upstream::on_batch(std::string_view line) {
  const auto lines = jsonrpc::split_batch(line);
  if (!lines) {
    return garbage(line, "a batch of too many messages");
  }
  const auto hand_on = alive_.wrap([this](std::string_view one) { on_message(jsonrpc::scan(one), one); });
  for (const auto one : *lines) {
    hand_on(one);
  }
}

void Upstream::garbage(std::string_view line, const char* problem) {
  const auto now = loop_.now();
  if (now - period_start_ > limits::garbage_period) {
    if (garbage_in_period_ > limits::garbage_lines) {
      log::warning({{names::field_server, server_}}, "{} more lines on stdout that are no messages",
                   garbage_in_period_ - limits::garbage_lines);
    }
    period_start_ = now;
    garbage_in_period_ = 0;
  }
  if (++garbage_in_period_ <= limits::garbage_lines) {
    log::warning({{names::field_server, server_}}, "a line on stdout that is no message ({}): {}", problem,
                 text::printable(line, shown_bytes));
  }
}

}  // namespace hal::hub
