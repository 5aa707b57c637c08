#pragma once

#include "hub/client.hpp"

#include <cstddef>
#include <list>
#include <set>
#include <string>
#include <vector>

namespace hal::hub {

/**
 * Batches of one client whose answers have not all come: JSON-RPC answers a batch with one array. The server never sees
 * one, it gets the messages one by one.
 */
class OpenBatches {
 public:
  /** The ids a batch is answered under, as keys (jsonrpc::id_key); at least one. */
  void open(const std::vector<std::string>& id_keys);
  [[nodiscard]] bool empty() const { return batches_.empty(); }

  enum class Verdict {
    /** No batch's, or more than may be kept: it goes out by itself. */
    alone,
    /** Kept until the others have come. */
    kept,
    /** It was the last one; take_complete() has them all. */
    complete,
  };
  [[nodiscard]] Verdict answer(const std::string& id_key, Parts message);
  /** No answer will come, because the client does not want it any more. */
  [[nodiscard]] Verdict give_up(const std::string& id_key);
  /** JSON text of the array; empty if every answer was given up or went out alone. */
  [[nodiscard]] std::string take_complete() { return std::move(complete_); }

  template <class Archive>
  void keep(Archive& archive) {
    archive(batches_);
    if constexpr (Archive::loading) {
      kept_bytes_ = 0;
      for (const auto& batch : batches_) {
        kept_bytes_ += batch.answers.size();
      }
    }
  }

 private:
  struct Batch {
    std::multiset<std::string> open;
    std::string answers;

    template <class Archive>
    void keep(Archive& archive) {
      archive(open, answers);
    }
  };
  using Batches = std::list<Batch>;

  /** The batch that waits for this answer, which it waits for no more. */
  [[nodiscard]] Batches::iterator claim(const std::string& id_key);
  [[nodiscard]] Verdict close_if_done(Batches::iterator batch, Verdict otherwise);

  Batches batches_;
  std::string complete_;
  std::size_t kept_bytes_ = 0;
};

}  // namespace hal::hub
