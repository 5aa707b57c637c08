#include "hub/open_batches.hpp"

#include "hub/hub_limits.hpp"

#include <utility>

namespace hal::hub {

void OpenBatches::open(const std::vector<std::string>& id_keys) {
  batches_.push_back({{id_keys.begin(), id_keys.end()}, {}});
}

OpenBatches::Batches::iterator OpenBatches::claim(const std::string& id_key) {
  for (auto batch = batches_.begin(); batch != batches_.end(); ++batch) {
    if (const auto id = batch->open.find(id_key); id != batch->open.end()) {
      batch->open.erase(id);
      return batch;
    }
  }
  return batches_.end();
}

OpenBatches::Verdict OpenBatches::answer(const std::string& id_key, Parts message) {
  const auto batch = claim(id_key);
  if (batch == batches_.end()) {
    return Verdict::alone;
  }
  std::size_t bytes = 1;
  for (const auto part : message) {
    bytes += part.size();
  }
  if (kept_bytes_ + bytes > limits::batch_answer_bytes && !batch->open.empty()) {
    return Verdict::alone;
  }
  kept_bytes_ += bytes;
  batch->answers += batch->answers.empty() ? '[' : ',';
  for (const auto part : message) {
    batch->answers += part;
  }
  return close_if_done(batch, Verdict::kept);
}

OpenBatches::Verdict OpenBatches::give_up(const std::string& id_key) {
  const auto batch = claim(id_key);
  return batch == batches_.end() ? Verdict::alone : close_if_done(batch, Verdict::kept);
}

OpenBatches::Verdict OpenBatches::close_if_done(Batches::iterator batch, Verdict otherwise) {
  if (!batch->open.empty()) {
    return otherwise;
  }
  kept_bytes_ -= batch->answers.size();
  complete_ = std::move(batch->answers);
  complete_ += complete_.empty() ? "" : "]";
  batches_.erase(batch);
  return Verdict::complete;
}

}  // namespace hal::hub
