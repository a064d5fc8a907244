# kiln_embed_sources(OUT [FUNCTION name] files...): a C++ file that defines kiln::embedded_sources(),
# the text of the given files by name, and a digest of them; or kiln::name(), the texts alone.
function(kiln_embed_sources out)
  cmake_parse_arguments(embed "" FUNCTION "" ${ARGN})
  set(files ${embed_UNPARSED_ARGUMENTS})
  set(inputs)
  foreach(name ${files})
    list(APPEND inputs ${PROJECT_SOURCE_DIR}/${name})
  endforeach()
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} "-DOUT=${out}" "-DROOT=${PROJECT_SOURCE_DIR}" "-DFILES=${files}"
            "-DFUNCTION=${embed_FUNCTION}" -P ${PROJECT_SOURCE_DIR}/cmake/embed_script.cmake
    DEPENDS ${inputs} ${PROJECT_SOURCE_DIR}/cmake/embed_script.cmake
    COMMENT "Embedding kernel sources" VERBATIM)
endfunction()
