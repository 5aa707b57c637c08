#include "daemon/images.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "image/catalog.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace hal::daemon {

namespace {

constexpr std::chrono::milliseconds first_list_retry = std::chrono::seconds(1);
constexpr std::chrono::milliseconds first_retry = std::chrono::minutes(1);
/** Also after a job that somebody has cancelled. */
constexpr std::chrono::milliseconds last_retry = std::chrono::minutes(30);

}  // namespace

/** A job's part here: tells what becomes of it, also where it is given up. */
class Images::Task final : public worker::Operation {
 public:
  using Start = std::function<worker::OperationHandle(image::Scripts::Progress, Done<void>)>;

  Task(Images& owner, std::vector<std::string> names, const Start& start, bus::DaemonControl::Progress progress,
       Done<void> done)
      : owner_(owner), progress_(std::move(progress)), done_(std::move(done)) {
    owner_.current_ = Current{std::move(names), 0, "begins"};
    script_ = start([this](double fraction, std::string message) { on_progress(fraction, std::move(message)); },
                    [this](const Result<void>& result) { on_end(result); });
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() override {
    script_.reset();
    if (done_) {
      owner_.on_end(std::nullopt);
    }
  }

 private:
  void on_progress(double fraction, std::string message) {
    progress_(fraction, message);
    owner_.on_progress(fraction, std::move(message));
  }
  void on_end(const Result<void>& result) {
    const auto done = std::exchange(done_, nullptr);
    owner_.on_end(result);
    done(result);
  }

  Images& owner_;
  bus::DaemonControl::Progress progress_;
  Done<void> done_;
  worker::OperationHandle script_;
};

Images::Images(Parts parts)
    : parts_(std::move(parts)),
      retry_delay_(first_retry),
      list_retry_delay_(first_list_retry),
      list_retry_(parts_.loop, "images (list)", [this] { look(); }),
      retry_(parts_.loop, "images (retry)", [this] { look(); }),
      look_(parts_.loop, "images", [this] { find_generations(); }) {}

Images::~Images() = default;

std::set<std::string> Images::needed() const {
  std::set<std::string> needed = {parts_.settings.parent_image};
  if (const auto profile = parts_.settings.profiles.find(parts_.settings.default_profile);
      profile != parts_.settings.profiles.end()) {
    needed.insert(profile->second.image);
  }
  return needed;
}

std::vector<std::string> Images::buildable() const {
  std::vector<std::string> names;
  for (const auto& reference : missing_) {
    auto name = image::own_name(reference, parts_.scripts.options().version);
    if (wanted_ && wanted_->contains(name)) {
      names.push_back(std::move(name));
    }
  }
  return names;
}

// --- what there is -------------------------------------------------------------------------------------------------

void Images::list(Done<std::vector<image::Image>> done) {
  auto references = needed();
  for (const auto& [name, profile] : parts_.settings.profiles) {
    references.insert(profile.image);
  }
  const auto generations = wanted_.value_or(image::Generations());
  const auto& version = parts_.scripts.options().version;
  for (const auto& [name, generation] : generations) {
    const bool named = std::any_of(references.begin(), references.end(), [&name = name, &version](const auto& one) {
      return image::own_name(one, version) == name;
    });
    if (!named) {
      references.insert("hal9000/" + name);
    }
  }
  image::look_up(parts_.runtime, references, generations, version, std::move(done));
}

void Images::look() {
  look_.schedule();
}

/** Which images there can be is asked once: the scripts change with the daemon. */
void Images::find_generations() {
  if (!parts_.runtime.up() || finding_) {
    return;
  }
  if (looking_) {
    look_again_ = true;
    return;
  }
  if (!wanted_ && !list_retry_.armed() && parts_.scripts.installed()) {
    finding_ = parts_.scripts.list([this](const Result<image::Generations>& generations) {
      finding_.reset();
      if (generations) {
        wanted_ = *generations;
        return look();
      }
      // At the daemon's start systemd may not be there to run them.
      log::warning({}, "{}", generations.error().message);
      list_retry_.arm(list_retry_delay_);
      list_retry_delay_ = std::min(list_retry_delay_ * 2, first_retry);
    });
    return;
  }
  looking_ = true;
  image::look_up(parts_.runtime, needed(), wanted_.value_or(image::Generations()), parts_.scripts.options().version,
                 alive_.wrap([this](const Result<std::vector<image::Image>>& images) {
                   looking_ = false;
                   if (images) {
                     compare(*images);
                   }
                   if (std::exchange(look_again_, false)) {
                     look();
                   }
                 }));
}

void Images::compare(const std::vector<image::Image>& images) {
  std::set<std::string> missing;
  for (const auto& image : images) {
    if (image.state == "missing") {
      missing.insert(image.reference);
    }
  }
  const auto before = std::exchange(missing_, std::move(missing));
  const bool came =
      std::any_of(before.begin(), before.end(), [this](const auto& one) { return !missing_.contains(one); });
  if (missing_.empty()) {
    failure_.clear();
    retry_.disarm();
    retry_delay_ = first_retry;
  } else if (!current_ && !retry_.armed()) {
    begin();
  }
  if (came) {
    parts_.complete();
  }
  if (before != missing_) {
    parts_.changed();
  }
}

// --- jobs ----------------------------------------------------------------------------------------------------------

void Images::begin() {
  const auto names = buildable();
  if (names.empty()) {
    return;
  }
  log::notice({}, "images are missing and will be built: {}", fmt::join(names, ", "));
  const auto job = parts_.start_job("build-images", [this, &names](auto progress, auto done) {
    return build({names, false}, std::move(progress), std::move(done));
  });
  if (!job) {
    on_end(Result<void>(job.error()));
  }
}

Result<void> Images::may_begin(const std::vector<std::string>& names) const {
  if (current_) {
    return Error{Errc::busy,
                 fmt::format("images are worked on: {}, {:.0f} %", current_->message, 100 * current_->fraction)};
  }
  if (!parts_.runtime.up()) {
    return Error{Errc::unavailable, "the container engine is not reachable"};
  }
  if (!wanted_ || wanted_->empty()) {
    return Error{Errc::unavailable,
                 fmt::format("{}: there are no scripts that build images", parts_.scripts.options().folder)};
  }
  for (const auto& name : names) {
    if (!wanted_->contains(name)) {
      std::vector<std::string> known;
      for (const auto& [one, generation] : *wanted_) {
        known.push_back(one);
      }
      return Error{Errc::not_found,
                   fmt::format("image {}: can be built are {}", text::printable(name), fmt::join(known, ", "))};
    }
  }
  return {};
}

worker::OperationHandle Images::build(bus::BuildRequest request, bus::DaemonControl::Progress progress,
                                      Done<void> done) {
  auto names = std::move(request.names);
  if (names.empty()) {
    for (const auto& reference : needed()) {
      if (auto name = image::own_name(reference, parts_.scripts.options().version); wanted_->contains(name)) {
        names.push_back(std::move(name));
      }
    }
  }
  const auto start = [this, &names, refresh = request.refresh](auto on_progress, auto on_done) {
    return parts_.scripts.build(names, refresh, std::move(on_progress), std::move(on_done));
  };
  return std::make_unique<Task>(*this, names, start, std::move(progress), std::move(done));
}

worker::OperationHandle Images::load(UniqueFd archive, bus::DaemonControl::Progress progress, Done<void> done) {
  const auto start = [this, &archive](auto on_progress, auto on_done) {
    return parts_.scripts.load(std::move(archive), std::move(on_progress), std::move(on_done));
  };
  return std::make_unique<Task>(*this, std::vector<std::string>(), start, std::move(progress), std::move(done));
}

void Images::on_progress(double fraction, std::string message) {
  current_->fraction = fraction;
  current_->message = std::move(message);
  parts_.changed();
}

void Images::on_end(const std::optional<Result<void>>& result) {
  current_.reset();
  failure_ = !result ? "the job was cancelled" : *result ? "" : result->error().message;
  if (failure_.empty()) {
    retry_delay_ = first_retry;
  } else if (!missing_.empty()) {
    retry_.arm(result ? retry_delay_ : last_retry);
    retry_delay_ = std::min(retry_delay_ * 2, last_retry);
    log::error({}, "images: {}", failure_);
  }
  look();
  parts_.changed();
}

// --- what it says of itself ----------------------------------------------------------------------------------------

std::string Images::on_its_way(const std::string& reference) const {
  const auto name = image::own_name(reference, parts_.scripts.options().version);
  if (!current_ || !missing_.contains(reference) ||
      std::find(current_->names.begin(), current_->names.end(), name) == current_->names.end()) {
    return {};
  }
  return fmt::format("image {} is missing and being built: {}, {:.0f} %", reference, current_->message,
                     100 * current_->fraction);
}

std::string Images::status() const {
  if (missing_.empty()) {
    return {};
  }
  const auto missing = fmt::format("missing {}", fmt::join(missing_, ", "));
  if (current_) {
    return fmt::format("{}: {}, {:.0f} %", missing, current_->message, 100 * current_->fraction);
  }
  return failure_.empty() ? missing : fmt::format("{}: {}", missing, failure_);
}

}  // namespace hal::daemon
