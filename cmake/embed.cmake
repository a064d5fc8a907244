# kiln_embed_sources(OUT files...): a C++ file that defines kiln::embedded_sources(), the text of the
# given files by name.
function(kiln_embed_sources out)
  set(inputs)
  foreach(name ${ARGN})
    list(APPEND inputs ${PROJECT_SOURCE_DIR}/${name})
  endforeach()
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} "-DOUT=${out}" "-DROOT=${PROJECT_SOURCE_DIR}" "-DFILES=${ARGN}"
            -P ${PROJECT_SOURCE_DIR}/cmake/embed_script.cmake
    DEPENDS ${inputs} ${PROJECT_SOURCE_DIR}/cmake/embed_script.cmake
    COMMENT "Embedding kernel sources" VERBATIM)
endfunction()
