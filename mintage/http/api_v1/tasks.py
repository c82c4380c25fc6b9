"""People's own tasks, with what came out of them."""

from collections.abc import Sequence

from mintage.application.services import Services
from mintage.domain.generation.decider import TaskUnknown
from mintage.http.api_v1.views import TaskView, task_view
from mintage.http.languages import Language
from mintage.projections.tasks import Task, task_of
from mintage.projections.works import Work, works_of_tasks


async def own_task(services: Services, user_id: str, task_id: int | str) -> Task:
    """Raises ``TaskUnknown`` if it is another's, too."""
    task = await task_of(services.db, user_id, task_id)
    if task is None:
        raise TaskUnknown
    return task


async def whole(services: Services, task: Task, language: Language) -> TaskView:
    (view,) = await wholes(services, [task], language)
    return view


async def wholes(services: Services, tasks: Sequence[Task], language: Language) -> list[TaskView]:
    delivered = [task.task_id for task in tasks if task.delivered]
    works: dict[str, list[Work]] = {}
    for work in await works_of_tasks(services.db, delivered) if delivered else ():
        works.setdefault(work.task_id, []).append(work)
    now = services.clock()
    return [task_view(task, works.get(task.task_id, ()), services.files, language, now) for task in tasks]
