#include "relay/gateway_side.hpp"

#include "relay/client_side.hpp"

namespace hal::relay {

bool GatewaySide::wants() const {
  return ready_ - begin_ < buffer_bytes;
}

void GatewaySide::append(std::string_view bytes, const OnLine& on_line) {
  while (!bytes.empty()) {
    const auto passed = scanner_.pass(bytes);
    buffer_.append(bytes.substr(0, passed));
    bytes.remove_prefix(passed);
    if (!scanner_.at_line_end()) {
      streaming_ = streaming_ || buffer_.size() - ready_ > buffer_bytes;
    } else if (on_line(scanner_.line()) == Verdict::swallow && !streaming_) {
      buffer_.resize(ready_);
    } else {
      ready_ = buffer_.size();
      streaming_ = false;
      buffer_ += after_line_;
      after_line_.clear();
    }
    if (streaming_ || scanner_.at_line_end()) {
      ready_ = buffer_.size();
    }
  }
}

void GatewaySide::add(std::string_view lines) {
  if (streaming_) {
    after_line_ += lines;
    return;
  }
  buffer_.insert(ready_, lines);
  ready_ += lines.size();
}

std::string_view GatewaySide::next() const {
  return std::string_view(buffer_).substr(begin_, ready_ - begin_);
}

void GatewaySide::written(std::size_t count) {
  begin_ += count;
  if (begin_ == buffer_.size()) {
    buffer_.clear();
    begin_ = 0;
    ready_ = 0;
  } else if (begin_ >= buffer_bytes) {
    buffer_.erase(0, begin_);
    ready_ -= begin_;
    begin_ = 0;
  }
}

bool GatewaySide::holds_much() const {
  return buffer_.capacity() > kept_capacity;
}

void GatewaySide::give_back() {
  buffer_.erase(0, begin_);
  ready_ -= begin_;
  begin_ = 0;
  buffer_.shrink_to_fit();
}

void GatewaySide::connection_lost() {
  buffer_.resize(ready_);
  if (streaming_) {
    buffer_ += "\n";
    buffer_ += after_line_;
    after_line_.clear();
    ready_ = buffer_.size();
    streaming_ = false;
  }
  scanner_.reset();
}

}  // namespace hal::relay
