// How a LineChannel goes over to another process.
#include "io/line_channel.hpp"

#include <string>
#include <utility>

namespace hal::io {

void LineChannel::save(Saver& archive) const {
  std::string waiting(waiting_.size(), '\0');
  (void)waiting_.copy(0, waiting);
  archive.descriptor(in_);
  archive.descriptor(out_);
  archive.text(shared_->buffer.view());
  archive.number(dropping_);
  archive.text(waiting);
}

std::pair<UniqueFd, UniqueFd> LineChannel::load_ends(Loader& archive) {
  auto in = archive.descriptor();
  auto out = archive.descriptor();
  if (archive.failed() || !in) {
    archive.fail();
    return {};
  }
  return {std::move(in), std::move(out)};
}

void LineChannel::load(Loader& archive) {
  const auto read = archive.text();
  dropping_ = archive.number();
  waiting_.append(archive.text());
  shared_->buffer.append(read);
  if (!read.empty()) {
    later_.schedule();
  }
  blocked_ = queued_bytes() > 0;
  update_events();
}

}  // namespace hal::io
